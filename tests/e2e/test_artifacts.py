"""What `sam build` has made: each function's code and layers are all that it needs, and small."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.aws import RESOURCES
from tests.e2e.deployment import LAMBDA_CARRIES, package_path, runtime

FUNCTIONS = sorted(name for name, each in RESOURCES.items() if each["Type"] == "AWS::Serverless::Function")

#: Bytes that a function may have unpacked: the API's with its layers, of the others what is theirs alone.
API_LIMIT, OWN_LIMIT = 25_000_000, 1_000_000

#: Imports the handler named on the command line. The path holds what Lambda's own does, in Lambda's order, and nothing else: no
#: site-packages (-S), no environment and no working directory (-I).
IMPORT = """
import importlib, os, sys
handler, *folders = sys.argv[1:]
sys.path = folders + sys.path
module, _, name = handler.rpartition(".")
assert callable(getattr(importlib.import_module(module), name))
print(*sorted({file for each in list(sys.modules.values()) if (file := getattr(each, "__file__", None))}), sep="\\n")
"""


@pytest.fixture(scope="session")
def template(built: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml_parse(built.read_text())
    return read


def properties(template: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def code(template: dict[str, Any], built: Path, name: str) -> Path:
    return built.parent / str(properties(template, name)["CodeUri"])


def layers(template: dict[str, Any], built: Path, name: str) -> list[Path]:
    shared = template["Globals"]["Function"]["Layers"] + properties(template, name).get("Layers", [])
    return [built.parent / str(properties(template, layer["Ref"])["ContentUri"]) for layer in shared]


@pytest.fixture(scope="session")
def boto3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which Lambda's Python has boto3 and what that needs."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in LAMBDA_CARRIES:
        source = package_path(name)
        (folder / source.name).symlink_to(source)
    return folder


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_finds_all_that_it_imports_in_its_own_code_and_layers(
    name: str, template: dict[str, Any], built: Path, boto3: Path
) -> None:
    own = code(template, built, name)
    shared = [layer / "python" for layer in layers(template, built, name)]
    handler = properties(template, name)["Handler"]
    environment = {"TABLE_NAME": "t", "QUEUE_URL": "https://sqs.invalid/q", "BUCKET_NAME": "b"}
    python = runtime()
    assert python is not None
    done = subprocess.run(
        [python, "-I", "-S", "-c", IMPORT, handler, *map(str, [own, *shared, boto3])],
        env=environment | {"AWS_DEFAULT_REGION": "us-east-1"},
        cwd=own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = [Path(line) for line in done.stdout.splitlines()]
    assert own / handler.replace(".", "/", handler.count(".") - 1).replace(".handler", ".py") in imported
    assert not [path for path in imported if "site-packages" in path.parts and boto3 not in path.parents]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_artifacts_are_small(name: str, template: dict[str, Any], built: Path) -> None:
    own = size(code(template, built, name))
    if name == "ApiFunction":
        assert own + sum(map(size, layers(template, built, name))) <= API_LIMIT
    elif name != "WorkerFunction":
        assert own <= OWN_LIMIT


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
