"""What SnapStart asks: two processes restored from one snapshot of a function share no id, no secret and no chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.aws import ROOT

#: Imports a function as Lambda does before it takes the snapshot, and goes on in two processes with the same memory.
#: (A fork reseeds Python's generator, which a restored machine does not; so that is put back.)
RESTORE_TWICE = """
import importlib, json, os, random, socket, sys, threading
importlib.import_module(sys.argv[1])
from snapshot_restore_py import get_after_restore, get_before_snapshot
from common.jobs import new_id
import secrets

def family(fd):
    try:
        with socket.socket(fileno=os.dup(int(fd))) as found:
            return found.family
    except OSError:
        return None

connections = [fd for fd in os.listdir("/dev/fd") if family(fd) in (socket.AF_INET, socket.AF_INET6)]
snapshot = {"threads": threading.active_count(), "connections": len(connections), "before": len(get_before_snapshot())}
state = random.getstate()
print(json.dumps(snapshot), flush=True)
for _ in range(2):
    if not (child := os.fork()):
        random.setstate(state)
        for function, arguments, options in get_after_restore():
            function(*arguments, **options)
        print(json.dumps({"id": new_id(), "ticket": secrets.token_urlsafe(32), "chance": random.random()}), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(params=["functions.api.app", "functions.worker.app"])
def restored(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The snapshot, and what two processes restored from it say."""
    settings = {"TABLE_NAME": "t", "QUEUE_URL": "https://sqs.invalid/q", "BUCKET_NAME": "b"}
    done = subprocess.run(
        [sys.executable, "-c", RESTORE_TWICE, request.param],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_restored_processes_share_nothing_that_must_differ(restored: list[dict[str, Any]]) -> None:
    _, one, other = restored
    assert [name for name in one if one[name] == other[name]] == []


def test_a_snapshot_holds_no_connection_and_no_thread(restored: list[dict[str, Any]]) -> None:
    """Neither is there any more when it is restored, which may be days later and elsewhere."""
    assert restored[0] == {"threads": 1, "connections": 0, "before": 0}
