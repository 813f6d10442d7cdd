"""Keys from the command line work with the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.wiring import Services
from dev.keys import main
from tests.aws import client
from tests.handlers import Api

OUTPUTS = """
Resources: {Nothing: {Type: AWS::CloudFormation::WaitConditionHandle}}
Outputs: {TableName: {Value: longrun}}
"""


@pytest.fixture
def stack(services: Services) -> str:
    client("cloudformation").create_stack(StackName="longrun-dev", TemplateBody=OUTPUTS)
    return "longrun-dev"


def test_a_key_is_made_listed_and_revoked(
    stack: str, anybody: Api, capsys: pytest.CaptureFixture[str], clock: Any
) -> None:
    where = ["--owner", "acme", "--stack", stack]
    assert main(["create", "--name", "ci", *where]) == 0
    key = capsys.readouterr().out.strip()
    assert anybody("GET", "/jobs", headers={"authorization": f"Bearer {key}"}).status == 200

    assert main(["list", *where]) == 0
    listed = capsys.readouterr().out
    assert "ci" in listed
    assert key not in listed
    key_id = next(word for word in listed.split() if len(word) == 12 and word.isalnum())

    assert main(["revoke", "--key-id", key_id, *where]) == 0
    clock.advance(61)
    assert anybody("GET", "/jobs", headers={"authorization": f"Bearer {key}"}).status == 401
    assert main(["revoke", "--key-id", key_id, *where]) == 1


def test_mistakes_are_explained(stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "--owner", "a b", "--stack", stack]) == 1
    assert main(["create", "--owner", "acme", "--stack", "no-such-stack"]) == 1
    assert main(["create", "--owner", "acme", "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "make run" in said
    assert "owner" in said
