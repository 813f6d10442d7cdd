"""A look-up: every address that a name has is judged, and none is told."""

from __future__ import annotations

import asyncio

import pytest

from common.addresses import locate, look_up
from common.egress import LOCAL, ForbiddenAddress, Unreachable, parse
from tests.unit.egress.calling import answering, unknown


def test_every_answer_counts_and_none_is_told() -> None:
    target = parse("https://hooks.example.com/")
    assert asyncio.run(locate(target, answering("93.184.215.14", "2606:4700::1", "93.184.215.14"))) == [
        "93.184.215.14",
        "2606:4700::1",
    ]
    with pytest.raises(ForbiddenAddress) as inside:
        asyncio.run(locate(target, answering("93.184.215.14", "10.1.2.3")))
    with pytest.raises(Unreachable) as nowhere:
        asyncio.run(locate(target, unknown))
    assert str(inside.value) == str(nowhere.value)
    assert inside.value.__suppress_context__ or inside.value.__context__ is None


def test_localhost_is_loopback_or_nothing() -> None:
    target = parse("http://localhost:8000/", policy=LOCAL)
    assert asyncio.run(locate(target, answering("127.0.0.1", "::1"))) == ["127.0.0.1", "::1"]
    for elsewhere in ("10.0.0.1", "93.184.215.14"):
        with pytest.raises(ForbiddenAddress):
            asyncio.run(locate(target, answering("127.0.0.1", elsewhere)))


def test_a_public_name_is_not_loopback_on_a_laptop_either() -> None:
    with pytest.raises(ForbiddenAddress):
        asyncio.run(locate(parse("https://hooks.example.com/", policy=LOCAL), answering("127.0.0.1")))


def test_the_system_is_asked() -> None:
    assert asyncio.run(look_up("127.0.0.1", 80)) == ["127.0.0.1"]
