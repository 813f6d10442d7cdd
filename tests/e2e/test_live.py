"""Watching jobs over WebSockets, through the gateway, with the functions' roles enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from dev.emulator import until
from tests.e2e.deployment import Deployment

#: Seconds without any message after which something must be wrong.
PATIENCE = 60


def messages(socket: ClientConnection, job_id: str, after: int = 0) -> Iterator[Any]:
    """What is said of a job, to its end."""
    socket.send(json.dumps({"action": "subscribe", "job": job_id, "after": after}))
    while True:
        message = json.loads(socket.recv(PATIENCE))
        yield message
        if "end" in message or "problem" in message:
            return


def numbers(said: list[Any]) -> list[int]:
    return [event["seq"] for message in said for event in message.get("events", []) if "seq" in event]


def submit(http: httpx.Client, task: str, given: dict[str, Any], **options: Any) -> str:
    return str(http.post("/jobs", json={"task": task, "input": given, **options}).raise_for_status().json()["id"])


def log_of(http: httpx.Client, job_id: str) -> list[Any]:
    events: list[Any] = http.get(f"/jobs/{job_id}/events", params={"limit": 1000}).raise_for_status().json()["events"]
    return events


@pytest.fixture
def socket(deployment: Deployment) -> Iterator[ClientConnection]:
    """Connected with a key of acme's."""
    key = Subprotocol(f"key.{deployment.key('acme')}")
    with connect(deployment.live_url, subprotocols=[Subprotocol("longrun"), key]) as socket:
        yield socket


def test_a_job_is_watched_from_its_submission_to_its_end(socket: ClientConnection, acme: httpx.Client) -> None:
    job_id = submit(acme, "echo", {"seconds": 6, "thoughts": 30})
    said = list(messages(socket, job_id))
    told = [event for message in said for event in message.get("events", []) if "seq" in event]
    assert told == log_of(acme, job_id)
    assert [event["seq"] for event in told] == list(range(1, 34))
    assert [message for message in said if message.get("live")]
    assert said[-1] == {"job": job_id, "end": {"status": "completed", "last_event": 33}}


def test_a_ticket_opens_an_agent_s_steps(acme: httpx.Client, deployment: Deployment) -> None:
    acme.put(
        "/documents/tides", content="# Tides\n\nThe moon pulls the sea.", headers={"Content-Type": "text/markdown"}
    )
    job_id = submit(acme, "agent", {"prompt": "What pulls the sea?"})
    ticket = acme.post("/live-ticket", json={"job": job_id}).raise_for_status().json()
    assert ticket["url"] == deployment.live_url
    with connect(f"{ticket['url']}?ticket={ticket['ticket']}") as socket:
        said = list(messages(socket, job_id))
        other = submit(acme, "echo", {})
        assert next(messages(socket, other))["problem"]["status"] == 404
    assert numbers(said) == [event["seq"] for event in log_of(acme, job_id)]
    assert "tool_call" in {event["type"] for message in said for event in message.get("events", [])}


@pytest.mark.parametrize("query", ["", "?ticket=lt_nonsense"])
def test_who_shows_nothing_valid_is_refused(deployment: Deployment, query: str) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"{deployment.live_url}{query}")


def test_who_comes_back_goes_on_where_it_was(deployment: Deployment, acme: httpx.Client) -> None:
    job_id = submit(acme, "echo", {"seconds": 8, "thoughts": 40})
    ticket = acme.post("/live-ticket", json={}).raise_for_status().json()["ticket"]
    known: list[int] = []
    while not known or known[-1] < 43:
        with connect(f"{deployment.live_url}?ticket={ticket}") as socket:
            for message in messages(socket, job_id, known[-1] if known else 0):
                known += numbers([message])
                if message.get("live") or "end" in message:
                    continue  # the first news after that, and it is cut
                break
    assert known == list(range(1, 44))


def test_who_disconnects_leaves_nothing(socket: ClientConnection, acme: httpx.Client, deployment: Deployment) -> None:
    job_id = submit(acme, "echo", {}, delay_seconds=600)
    socket.send(json.dumps({"action": "subscribe", "job": job_id}))
    while not json.loads(socket.recv(PATIENCE)).get("live"):
        pass
    assert watchers(deployment, job_id) == 1
    socket.close()
    until(lambda: watchers(deployment, job_id) == 0, seconds=PATIENCE, what="The subscription's end")


def watchers(deployment: Deployment, job_id: str) -> int:
    answer = deployment.emulator.client("dynamodb").query(
        TableName=deployment.outputs["TableName"],
        KeyConditionExpression="pk = :p AND begins_with(sk, :l)",
        ExpressionAttributeValues={":p": {"S": f"job#{job_id}"}, ":l": {"S": "live#"}},
    )
    return int(answer["Count"])
