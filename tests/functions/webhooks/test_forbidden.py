"""No delivery calls an address that is forbidden, whatever the table or a receiver says."""

from __future__ import annotations

from collections.abc import Callable

from common.addresses import is_public
from common.jobs import Job
from common.wiring import Services
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.functions.webhooks.conftest import scripted
from tests.post import Post, post_office
from tests.receiver import receiving
from tests.unit.test_egress_cases import Network, World, public_name, rows


def test_a_redirect_is_a_failure_and_is_not_followed(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as inside, receiving(scripted((307, {"Location": inside.url}, b""))) as receiver:
        job = end(make_job(callback_url=receiver.url))
        post.run(60)
        assert inside.received == []
    assert post.delivery(job.id).tries[0].status == 307


def test_what_was_allowed_once_is_judged_again_at_every_try(
    services: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    """In a deployment no loopback receiver is called, whatever the table says."""
    with (
        receiving(scripted(200)) as receiver,
        post_office(services, clock, lambda: Courier(services, lambda: 0.5)) as post,
    ):
        job = end(make_job(callback_url=receiver.url))
        post.run(1)
        assert receiver.received == []
        assert (post.delivery(job.id).tries[0].error or "").startswith("ForbiddenAddress")


def test_no_delivery_dials_what_is_forbidden(
    services: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    """Whatever the table says: as if every address had passed at registration."""
    with post_office(services, clock, lambda: Courier(services, lambda: 0.5, ways)) as post:
        for case in rows():
            world = World(public_name(case))
            ways = {"resolve": world.resolve, "network": Network(world)}
            job = end(make_job(callback_url=world.case.url))
            post.notify()
            post.deliver()
            made = post.delivery(job.id).tries[0]
            assert all(is_public(address) and port == 443 for address, port in world.dialled), case
            assert len(world.dialled) <= 1, case
            if case.expected in ("must_block", "policy_block"):
                assert not world.dialled, case
                assert (made.error or "").startswith("ForbiddenAddress"), case
            assert made.ok == (case.expected in ("allow", "connect_only_public", "never_dial_private")), case
