"""An owner's own limits from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.limits import Limits, OwnerLimits
from common.wiring import Services
from dev.limits import main
from tests.aws import client

OUTPUTS = """
Resources: {{Nothing: {{Type: AWS::CloudFormation::WaitConditionHandle}}}}
Outputs: {{TableName: {{Value: longrun}}, OwnerOverrides: {{Value: "{overrides}"}}}}
"""


@pytest.fixture
def stack(services: Services) -> str:
    client("cloudformation").create_stack(StackName="longrun-dev", TemplateBody=OUTPUTS.format(overrides="On"))
    return "longrun-dev"


def own() -> OwnerLimits | None:
    return Limits(client("dynamodb"), "longrun", OwnerLimits(7, 7), overrides=True).read("acme")


def test_limits_are_set_shown_and_forgotten(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--owner", "acme", "--stack", stack]
    assert main(where) == 0
    assert "as the deployment says" in capsys.readouterr().out
    assert main(["--running", "5", *where]) == 0
    assert own() == OwnerLimits(5, 7)
    assert main(["--per-minute", "0", *where]) == 0  # what was set before stays
    assert own() == OwnerLimits(5, 0)
    assert "running at a time: 5; submissions a minute: any number" in capsys.readouterr().out.replace("\n", " ")
    assert main(["--forget", *where]) == 0
    assert own() is None


def test_mistakes_are_explained(stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--owner", "a b", "--stack", stack]) == 1
    assert main(["--owner", "acme", "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "owner's name" in said.replace("\n", " ")
    assert "make run" in said
    with pytest.raises(SystemExit):
        main(["--owner", "acme", "--running", "-1", "--stack", stack])


def test_a_deployment_that_would_not_look_says_so(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    client("cloudformation").create_stack(StackName="longrun-off", TemplateBody=OUTPUTS.format(overrides="Off"))
    assert main(["--owner", "acme", "--running", "1", "--stack", "longrun-off"]) == 1
    assert "OwnerOverrides=On" in capsys.readouterr().err
    assert own() is None
