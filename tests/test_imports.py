"""Who may import whom, and what a function may pay for at its start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: For each part of the tree, the parts that it may import besides itself.
ALLOWED = {
    "common": set(),
    "tasks": {"common"},
    "functions/api": {"common", "tasks"},
    "functions/worker": {"common", "tasks"},
    "functions/deadletters": {"common"},
    "functions/sweeper": {"common"},
    "functions/stragglers": {"common"},
    "functions/live": {"common"},
    "functions/notifier": {"common"},
    "functions/webhooks": {"common"},
    "functions/scheduled": {"common"},
    "client/longrun": set(),
}
PARTS = {"common", "tasks", "functions", "longrun", "dev", "tests", "bench"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name for name in found if name.partition(".")[0] in PARTS}


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_go_one_way(part: str) -> None:
    own = part.removeprefix("client/").replace("/", ".")
    files = list((ROOT / part).rglob("*.py"))
    assert files
    for path in files:
        for name in imported(path):
            inside = name == own or name.startswith(own + ".")
            assert inside or name.partition(".")[0] in ALLOWED[part], f"{path.relative_to(ROOT)} imports {name}"


def test_every_function_is_looked_at() -> None:
    folders = {f"functions/{app.parent.name}" for app in ROOT.glob("functions/*/app.py")}
    assert folders == {part for part in ALLOWED if part.startswith("functions/")}


#: What must not be loaded by a function's entry point: (function, modules).
HEAVY = {
    "api": {
        "pypdf",
        "trafilatura",
        "numpy",
        "networkx",
        "regex",
        "py3langid",
        "resiliparse",
        "tantivy",
        "aws_xray_sdk",
        "pydantic_ai",
        "openai",
        "anthropic",
        "httpx",
        "fastjsonschema",
        "tzdata",
    },
    "worker": {"fastapi", "mangum", "starlette", "pypdf", "trafilatura", "numpy", "fastjsonschema", "aws_xray_sdk"},
    "sweeper": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "aws_xray_sdk"},
    "stragglers": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "aws_xray_sdk"},
    "deadletters": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "aws_xray_sdk"},
    "notifier": {
        "fastapi",
        "mangum",
        "pydantic",
        "pydantic_core",
        "tasks",
        "httpcore",
        "standardwebhooks",
        "aws_xray_sdk",
    },
    "webhooks": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "httpx", "aws_xray_sdk"},
    "scheduled": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "httpcore", "aws_xray_sdk"},
    "live": {"fastapi", "mangum", "pydantic", "pydantic_core", "tasks", "httpcore", "aws_xray_sdk"},
}


@pytest.mark.parametrize("function", HEAVY)
def test_a_function_starts_light(function: str) -> None:
    environ = {
        "TABLE_NAME": "t",
        "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/q",
        "BUCKET_NAME": "b",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    code = f"import functions.{function}.app, sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert not HEAVY[function] & set(ran.stdout.split())
