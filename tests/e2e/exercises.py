"""Everything that the functions do, in pieces of seconds, each of which fails if its function may not do a part of it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from websockets.sync.client import connect

from dev.emulator import until
from tests.e2e.deployment import Deployment

#: Seconds after which what has not happened does not happen. The slowest takes a third of it.
PATIENCE = 25


@dataclass(frozen=True)
class Owner:
    """Somebody new, who calls the API with a key of its own."""

    deployment: Deployment
    name: str
    http: httpx.Client

    def submit(self, task: str, input: Any = None, **options: Any) -> str:
        body = {"task": task, "input": input or {}, **options}
        return str(self.http.post("/jobs", json=body).raise_for_status().json()["id"])

    def job(self, job_id: str) -> Any:
        """As it is, or will be within two seconds."""
        return self.http.get(f"/jobs/{job_id}", params={"wait": 2}).raise_for_status().json()

    def wait(self, job_id: str, *statuses: str) -> Any:
        """The job, once it has one of these; else once it has ended, which must be well."""
        wanted = statuses or ("completed",)

        def there() -> Any:
            job = self.job(job_id)
            return job if job["status"] in (*wanted, "completed", "failed", "cancelled") else None

        job = until(there, seconds=PATIENCE, what=f"the end of {job_id}")
        assert job["status"] in wanted, job
        return job

    def run(self, task: str, input: Any = None, **options: Any) -> Any:
        return self.wait(self.submit(task, input, **options))

    def told(self, job_id: str) -> list[str]:
        """What the job's log says, by kind."""
        found = self.http.get(f"/jobs/{job_id}/events", params={"limit": 1000}).raise_for_status().json()["events"]
        return [event["type"] for event in found]


@contextmanager
def somebody(deployment: Deployment) -> Iterator[Owner]:
    name = f"owner-{secrets.token_hex(4)}"
    with deployment.http(name) as http:
        http.timeout = httpx.Timeout(PATIENCE)
        yield Owner(deployment, name, http)


EXERCISES: dict[str, Callable[[Owner], None]] = {}


def exercise(function: Callable[[Owner], None]) -> Callable[[Owner], None]:
    EXERCISES[function.__name__] = function
    return function


# ------------------------------------------------------------------ jobs


@exercise
def a_job(owner: Owner) -> None:
    job = owner.run("echo", {"seconds": 0.5, "thoughts": 2})
    assert "thought" in owner.told(job["id"])
    assert [each["id"] for each in owner.http.get("/jobs").raise_for_status().json()["jobs"]] == [job["id"]]


@exercise
def a_job_of_a_limited_owner(owner: Owner) -> None:
    from common.limits import Limits, OwnerLimits

    table = owner.deployment.emulator.client("dynamodb")
    own = Limits(table, owner.deployment.outputs["TableName"], OwnerLimits(), overrides=True)
    own.write(owner.name, running=1, per_minute=10)
    owner.run("echo", {"seconds": 0.5})


@exercise
def a_job_of_some_seconds(owner: Owner) -> None:
    """Longer than the first contact: then the worker hides the message for as long as its lease."""
    owner.run("echo", {"seconds": 6})


@exercise
def a_large_job_forgotten(owner: Owner) -> None:
    payload = {"text": "x" * 200_000}
    job = owner.run("echo", payload)
    link = owner.http.get(f"/jobs/{job['id']}/result").headers["Location"]
    assert httpx.get(link, timeout=PATIENCE).raise_for_status().json() == payload
    owner.http.delete(f"/jobs/{job['id']}").raise_for_status()
    assert objects(owner.deployment, f"jobs/{job['id']}") == []


@exercise
def a_cancelled_job(owner: Owner) -> None:
    job_id = owner.submit("echo", {"seconds": 30}, delay_seconds=600)
    owner.http.post(f"/jobs/{job_id}/cancel").raise_for_status()
    owner.wait(job_id, "cancelled")


@exercise
def a_swept_job(owner: Owner) -> None:
    job_id = owner.submit("echo", {}, delay_seconds=800)
    make_due(owner.deployment, job_id, wake_at=0)
    invoke(owner.deployment, "SweeperFunction", {})
    owner.wait(job_id)


@exercise
def a_straggler(owner: Owner) -> None:
    """It has not ended when its minute of the stream is looked at, which is at once on the emulator."""
    job_id = owner.submit("echo", {"seconds": 8})
    until(lambda: "due" in item(owner.deployment, job_id), seconds=6, what=f"{job_id} where the sweeper looks")
    owner.wait(job_id)


@exercise
def a_buried_job(owner: Owner) -> None:
    job_id = owner.submit("echo", {}, delay_seconds=800)
    make_due(owner.deployment, job_id, wake_at=int(time.time() + 3600) * 1000)
    queue = owner.deployment.outputs["DeadLetterQueueUrl"]
    owner.deployment.emulator.client("sqs").send_message(QueueUrl=queue, MessageBody=f'{{"job": "{job_id}"}}')
    owner.wait(job_id, "failed")


@exercise
def a_retried_job(owner: Owner) -> None:
    job_id = owner.submit("drill", {"kind": "steps"})
    owner.wait(job_id, "failed")
    owner.http.post(f"/jobs/{job_id}/retry", params={"from_step": "short"}).raise_for_status()
    until(lambda: owner.job(job_id)["attempt"] >= 1, seconds=PATIENCE, what="the retry")
    owner.wait(job_id, "failed")


# ------------------------------------------------------------------ jobs that wait


@exercise
def a_family(owner: Owner) -> None:
    job = owner.run("drill", {"kind": "children"})
    assert job["result"] == "child child"


@exercise
def an_abandoned_child(owner: Owner) -> None:
    parent = owner.submit("drill", {"kind": "abandon"})
    owner.wait(parent, "failed")

    def ended() -> bool:
        children = owner.http.get(f"/jobs/{parent}/children").raise_for_status().json()["children"]
        return [each["status"] for each in children].count("cancelled") == 1

    until(ended, seconds=PATIENCE, what="the child's end")


@exercise
def a_question(owner: Owner) -> None:
    job_id = owner.submit("drill", {"kind": "question"})
    owner.wait(job_id, "waiting")
    owner.http.post(f"/jobs/{job_id}/input", json={"answer": "x" * 100_000}).raise_for_status()
    owner.wait(job_id)


@exercise
def a_sleeper(owner: Owner) -> None:
    owner.run("drill", {"kind": "sleep"})


# ------------------------------------------------------------------ documents, chats, agents


@exercise
def a_document(owner: Owner) -> None:
    text, kind = "# Tides\n\nThe moon pulls the sea.", {"Content-Type": "text/markdown"}
    upload = owner.http.post("/uploads", json={"bytes": len(text)}).raise_for_status().json()
    httpx.put(upload["url"], content=text, timeout=PATIENCE).raise_for_status()
    put = owner.http.put("/documents/tides", params={"upload": upload["upload_id"]}, headers=kind)
    put.raise_for_status()
    job = owner.run("analyze_documents", {"document_ids": ["tides"]})
    assert "Tides" in owner.http.get(f"/jobs/{job['id']}/result", follow_redirects=True).raise_for_status().text
    assert len(owner.http.get("/documents").raise_for_status().json()["documents"]) == 1
    owner.http.delete("/documents/tides").raise_for_status()
    assert objects(owner.deployment, f"documents/{owner.name}") == []


@exercise
def a_chat(owner: Owner) -> None:
    said = {"session_id": "first", "messages": [{"role": "user", "content": "Hello"}]}
    owner.http.post("/chat", json=said).raise_for_status()
    assert owner.http.get("/chat/first").raise_for_status().json()


# ------------------------------------------------------------------ webhooks


@exercise
def a_webhook_tried_twice(owner: Owner) -> None:
    with receiver(500, 200) as (url, taken):
        owner.http.put("/webhook", json={"url": url}).raise_for_status()
        job = owner.run("echo")
        until(lambda: len(taken) >= 2, seconds=PATIENCE, what="the second try")
        [delivery] = delivered(owner, job["id"], "delivered")
        owner.http.post(f"/jobs/{job['id']}/deliveries/{delivery['id']}/redeliver").raise_for_status()
        until(lambda: len(taken) >= 3, seconds=PATIENCE, what="the delivery on demand")
        owner.http.delete("/webhook").raise_for_status()
    delivered(owner, job["id"], "delivered")


@exercise
def a_callback_of_an_owner_without_a_secret(owner: Owner) -> None:
    with receiver(200) as (url, taken):
        job = owner.run("echo", callback_url=url)
        until(lambda: taken, seconds=PATIENCE, what="the callback")
    delivered(owner, job["id"], "delivered")


@exercise
def a_webhook_that_the_notifier_could_not_make(owner: Owner) -> None:
    with receiver(200) as (url, taken):
        job = owner.run("echo", callback_url=url)
        [delivery] = delivered(owner, job["id"], "delivered")
        forget_delivery(owner.deployment, job["id"], delivery["id"])
        queue = owner.deployment.outputs["WebhookQueueUrl"]
        reminder = json.dumps({"job": job["id"]})
        owner.deployment.emulator.client("sqs").send_message(QueueUrl=queue, MessageBody=reminder)
        until(lambda: len(taken) == 2, seconds=PATIENCE, what="the callback")


# ------------------------------------------------------------------ schedules


@exercise
def a_schedule(owner: Owner) -> None:
    client, group = owner.deployment.emulator.client("scheduler"), owner.deployment.outputs["ScheduleGroup"]

    def known() -> set[str]:
        return {
            each["Name"] for each in client.list_schedules(GroupName=group)["Schedules"] if each["GroupName"] == group
        }

    others = known()
    body = {"task": "echo", "input": {"n": 1}, "rate": "1 day", "name": "daily"}
    made = owner.http.post("/schedules", json=body).raise_for_status().json()
    [name] = known() - others
    told = client.get_schedule(GroupName=group, Name=name)["Target"]
    event = json.loads(told["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-22T10:00:00Z"))
    owner.http.post(f"/schedules/{made['id']}/pause").raise_for_status()
    owner.http.post(f"/schedules/{made['id']}/resume").raise_for_status()
    owner.wait(invoke(owner.deployment, "ScheduledFunction", event)["job"])
    owner.http.delete(f"/schedules/{made['id']}").raise_for_status()
    # A deletion that died half-way would have left it.
    window = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ScheduleExpression": "rate(1 day)"}
    client.create_schedule(Name=name, GroupName=group, Target=told, **window)
    assert invoke(owner.deployment, "ScheduledFunction", event) == {"job": None}
    assert name not in known()


# ------------------------------------------------------------------ live


@exercise
def a_watched_job(owner: Owner) -> None:
    ticket = owner.http.post("/live-ticket", json={}).raise_for_status().json()["ticket"]
    with connect(f"{owner.deployment.live_url}?ticket={ticket}") as socket:
        job_id = owner.submit("echo", {"seconds": 4, "thoughts": 20})
        socket.send(json.dumps({"action": "subscribe", "job": job_id, "after": 0}))
        said: list[Any] = []
        while not said or "end" not in said[-1]:
            said.append(json.loads(socket.recv(PATIENCE)))
            assert "problem" not in said[-1], said[-1]
        assert [message for message in said if message.get("live")]
        other = owner.submit("echo", {}, delay_seconds=600)
        socket.send(json.dumps({"action": "subscribe", "job": other, "after": 0}))
        while not json.loads(socket.recv(PATIENCE)).get("live"):
            pass
        socket.send(json.dumps({"action": "unsubscribe", "job": other}))
    time.sleep(1)  # nobody is told when the connection's end has been noted


# ------------------------------------------------------------------ what they are made of


def invoke(deployment: Deployment, function: str, event: Any) -> Any:
    client = deployment.emulator.client("lambda")
    answer = client.invoke(FunctionName=deployment.functions[function], Payload=json.dumps(event).encode())
    result = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, result
    return result


def item(deployment: Deployment, job_id: str) -> dict[str, Any]:
    """The job's own, as the table has it."""
    key = {"pk": {"S": f"job#{job_id}"}, "sk": {"S": "job"}}
    found = deployment.emulator.client("dynamodb").get_item(TableName=deployment.outputs["TableName"], Key=key)
    return dict(found["Item"])


def make_due(deployment: Deployment, job_id: str, wake_at: int) -> None:
    """As if the job's time had come, and its message been lost."""
    deployment.emulator.client("dynamodb").update_item(
        TableName=deployment.outputs["TableName"],
        Key={"pk": {"S": f"job#{job_id}"}, "sk": {"S": "job"}},
        UpdateExpression="SET run_at = :run, wake_at = :wake",
        ExpressionAttributeValues={":run": {"N": "0"}, ":wake": {"N": str(wake_at)}},
    )


def forget_delivery(deployment: Deployment, job_id: str, delivery_id: str) -> None:
    deployment.emulator.client("dynamodb").delete_item(
        TableName=deployment.outputs["TableName"],
        Key={"pk": {"S": f"job#{job_id}"}, "sk": {"S": f"delivery#{delivery_id}"}},
    )


def objects(deployment: Deployment, prefix: str) -> list[str]:
    found = deployment.emulator.client("s3").list_objects_v2(Bucket=deployment.outputs["BucketName"], Prefix=prefix)
    return [each["Key"] for each in found.get("Contents", [])]


def delivered(owner: Owner, job_id: str, state: str) -> Any:
    def there() -> Any:
        found = owner.http.get(f"/jobs/{job_id}/deliveries").raise_for_status().json()["deliveries"]
        return found if found and all(each["status"] == state for each in found) else None

    return until(there, seconds=PATIENCE, what=f"a delivery that is {state}")


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[bytes]]]:
    """Answers with these statuses, the last one again and again; where it is, and what it has taken."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answers[min(len(taken), len(answers)) - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
        server.shutdown()
