"""What SAM makes of the template: what a deployment changes, who may call without a token, what access logs say."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from dev.translate import read, translated

RAW = read()
PARAMETERS = RAW["Parameters"]
RESOURCES = translated(RAW)["Resources"]

#: A change of these alone publishes nothing: they are too long for a version's description, or secret (see Release).
UNSEEN = {"CorsOrigins", "ModelKey", "SecretsKeyArn"}
PUBLISHED = ["ApiFunction", "WorkerFunction"]


def versions(template: dict[str, Any]) -> set[str]:
    resources = translated(template)["Resources"]
    return {name for name, each in resources.items() if each["Type"] == "AWS::Lambda::Version"}


@pytest.mark.parametrize("layer", ["CommonLayer", "TasksLayer"])
def test_new_code_of_a_layer_is_a_new_version_of_what_is_called_by_alias(layer: str) -> None:
    changed = copy.deepcopy(RAW)
    changed["Resources"][layer]["Properties"]["ContentUri"] = "s3://code/another"
    assert len(versions(changed)) == len(PUBLISHED)
    assert versions(RAW) & versions(changed) == set()


@pytest.mark.parametrize("function", PUBLISHED)
def test_every_parameter_of_a_published_function_is_in_its_version_s_description(function: str) -> None:
    """Else the alias would go on running what was deployed before, with the old value, and nothing would say so."""
    [version] = [each for name, each in RESOURCES.items() if name.startswith(f"{function}Version")]
    described = set(re.findall(r"\$\{(\w+)\}", version["Properties"]["Description"]["Fn::Sub"]))
    conditions = json.dumps({name: RAW["Conditions"][name] for name in conditions_in(RESOURCES[function])})
    used = set(
        re.findall(r'\{"Ref": "(\w+)"\}|\$\{(\w+)\}', json.dumps(RESOURCES[function]["Properties"]) + conditions)
    )
    parameters = {name for pair in used for name in pair if name in PARAMETERS}
    assert parameters - UNSEEN == described
    assert all(name in PARAMETERS["Release"]["Description"] for name in UNSEEN)


@pytest.mark.parametrize("function", PUBLISHED)
def test_a_version_s_description_is_never_too_long(function: str) -> None:
    [version] = [each for name, each in RESOURCES.items() if name.startswith(f"{function}Version")]
    text: str = version["Properties"]["Description"]["Fn::Sub"]
    longest = re.sub(r"\$\{(\w+)\}", lambda found: "x" * length(PARAMETERS[found[1]]), text)
    assert len(longest) <= 256


def length(parameter: dict[str, Any]) -> int:
    if "AllowedValues" in parameter:
        return max(len(str(value)) for value in parameter["AllowedValues"])
    return len(str(parameter["MaxValue"])) if parameter["Type"] == "Number" else int(parameter["MaxLength"])


def conditions_in(value: Any) -> set[str]:
    """The conditions that decide something in it."""
    if isinstance(value, dict):
        own = {value["Fn::If"][0]} if "Fn::If" in value else set()
        return own.union(*map(conditions_in, value.values()))
    return set().union(*map(conditions_in, value)) if isinstance(value, list) else set()


def test_a_snapshot_that_nothing_calls_is_not_paid_for() -> None:
    kept = [each["DeletionPolicy"] for each in RESOURCES.values() if each["Type"] == "AWS::Lambda::Version"]
    assert kept == ["Delete", "Delete"]


def of_type(kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in RESOURCES.values() if each["Type"] == f"AWS::{kind}"]


def test_whatever_calls_the_api_and_the_worker_calls_their_alias() -> None:
    called = {
        mapping["EventSourceArn"]["Fn::GetAtt"][0]: mapping["FunctionName"]["Ref"]
        for mapping in of_type("Lambda::EventSourceMapping")
    }
    assert [called[queue] for queue in ("Queue", "HighQueue", "LowQueue")] == ["WorkerFunctionAliaslive"] * 3
    assert RESOURCES["HttpApiIntegration"]["Properties"]["IntegrationUri"] == {"Ref": "ApiFunctionAliaslive"}
    assert RESOURCES["HttpApiPermission"]["Properties"]["FunctionName"] == {"Ref": "ApiFunctionAliaslive"}


def test_with_tokens_only_these_need_none() -> None:
    routes = {each["RouteKey"]: each for each in of_type("ApiGatewayV2::Route") if each["ApiId"] == {"Ref": "HttpApi"}}
    kinds = {key: route["AuthorizationType"] for key, route in routes.items()}
    free = ["GET /health", "GET /openapi.json", "GET /docs", "OPTIONS /{proxy+}"]
    assert kinds == dict.fromkeys(free, "NONE") | {"$default": {"Fn::If": ["HasJwt", "JWT", "NONE"]}}


def test_access_logs_hold_no_ticket_and_no_key() -> None:
    """Tickets are in addresses after the path, keys in headers and in sub-protocols."""
    assert set(re.findall(r"\$context\.([A-Za-z.]+)", json.dumps(of_type("ApiGatewayV2::Stage")))) == {
        "requestId", "requestTime", "identity.sourceIp", "httpMethod", "path", "status", "responseLength",
        "responseLatency", "integrationLatency", "integrationErrorMessage", "authorizer.error", "eventType",
        "routeKey", "connectionId", "error.message",
    }  # fmt: skip


def test_every_parameter_is_described_and_has_a_place_on_the_page() -> None:
    groups = RAW["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)
    assert all(parameter["Description"] for parameter in PARAMETERS.values())
