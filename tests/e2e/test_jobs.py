"""What a client does, over HTTP, through the gateway, with an API key."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime

import httpx
import pytest

from tests.e2e.deployment import Deployment, wait_for_end


@pytest.mark.parametrize("package", ["fastapi", "pydantic", "aws_lambda_powertools", "ministack", "longrun"])
def test_the_functions_interpreter_has_nothing_that_is_installed_here(python: str, package: str) -> None:
    missing = subprocess.run([python, "-c", f"import {package}"], capture_output=True, timeout=30, check=False)
    assert b"ModuleNotFoundError" in missing.stderr


def test_a_job_is_accepted_and_completed(acme: httpx.Client) -> None:
    accepted = acme.post("/jobs", json={"task": "echo", "input": {"word": "hello"}})
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"/jobs/{accepted.json()['id']}"
    job = wait_for_end(acme, accepted.json()["id"], seconds=60)
    assert (job["status"], job["attempt"], job["result"]) == ("completed", 1, {"word": "hello"})


def test_a_call_without_a_key_is_refused(deployment: Deployment) -> None:
    answer = httpx.get(f"{deployment.url}/jobs", timeout=30)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_health_needs_no_key(deployment: Deployment) -> None:
    assert httpx.get(f"{deployment.url}/health", timeout=30).json() == {"status": "ok"}


def test_the_same_submission_is_the_same_job(acme: httpx.Client) -> None:
    submission = {"task": "echo", "input": {"n": 1}}
    first, second = (acme.post("/jobs", json=submission, headers={"Idempotency-Key": '"replay"'}) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    other = acme.post("/jobs", json={"task": "echo", "input": {"n": 2}}, headers={"Idempotency-Key": '"replay"'})
    assert other.status_code == 422


def test_a_job_does_not_exist_for_others(acme: httpx.Client, stranger: httpx.Client) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {}}).json()["id"]
    assert stranger.get(f"/jobs/{job_id}").status_code == 404
    assert stranger.post(f"/jobs/{job_id}/cancel").status_code == 404
    assert acme.get(f"/jobs/{job_id}").status_code == 200


def test_large_inputs_and_results_take_their_way_through_the_bucket(acme: httpx.Client) -> None:
    payload = {"text": "é" * 150_000}
    accepted = acme.post("/jobs", json={"task": "echo", "input": payload})
    assert accepted.status_code == 202
    job = wait_for_end(acme, accepted.json()["id"], seconds=60)
    assert job["status"] == "completed"
    result = acme.get(f"/jobs/{job['id']}/result")
    assert result.status_code == 303
    # Not with our key: the link alone is what opens it.
    assert httpx.get(result.headers["Location"], timeout=30).json() == payload


def test_a_delayed_job_starts_when_it_is_due(acme: httpx.Client) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {}, "delay_seconds": 3}).json()["id"]
    job = wait_for_end(acme, job_id, seconds=60)
    waited = datetime.fromisoformat(job["started_at"]) - datetime.fromisoformat(job["created_at"])
    assert job["status"] == "completed"
    assert waited.total_seconds() >= 2  # the worker may start a job a second early


def test_a_cancelled_job_ends(acme: httpx.Client) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {"seconds": 60}}).json()["id"]
    assert acme.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert wait_for_end(acme, job_id, seconds=30)["status"] == "cancelled"


def test_a_finished_job_is_forgotten_on_demand(acme: httpx.Client) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {"text": "x" * 200_000}}).json()["id"]
    wait_for_end(acme, job_id, seconds=60)
    assert acme.delete(f"/jobs/{job_id}").status_code == 204
    assert acme.get(f"/jobs/{job_id}").status_code == 404


def test_stored_documents_are_analysed(acme: httpx.Client) -> None:
    documents = {
        "tides": ("text/markdown", "# Tides\n\nThe moon pulls the sea. Twice a day the water rises and falls.\n"),
        "bread": ("text/html", "<title>Bread</title><p>Flour, water, salt and time make a good loaf of bread.</p>"),
    }
    for name, (kind, content) in documents.items():
        assert acme.put(f"/documents/{name}", content=content, headers={"Content-Type": kind}).status_code == 201
    submission = {"task": "analyze_documents", "input": {"document_ids": [*documents, "missing"]}}
    job = wait_for_end(acme, acme.post("/jobs", json=submission).json()["id"], seconds=120)
    assert job["status"] == "completed", job
    assert job["progress"]["current"] == job["progress"]["total"] == 3
    text = acme.get(f"/jobs/{job['id']}/result", follow_redirects=True).text
    assert "Tides" in text
    assert "Bread" in text


def test_a_job_that_no_message_names_is_found_by_the_sweeper(acme: httpx.Client, deployment: Deployment) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {}, "delay_seconds": 800}).json()["id"]
    make_overdue(deployment, job_id)
    # The schedule fires once a minute, and nothing else moves this job.
    assert wait_for_end(acme, job_id, seconds=120)["status"] == "completed"


def test_a_job_whose_message_nobody_could_handle_fails(acme: httpx.Client, deployment: Deployment) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {}, "delay_seconds": 800}).json()["id"]
    make_overdue(deployment, job_id, wake_in=3600)
    deployment.emulator.client("sqs").send_message(
        QueueUrl=deployment.outputs["DeadLetterQueueUrl"], MessageBody=f'{{"job": "{job_id}"}}'
    )
    job = wait_for_end(acme, job_id, seconds=60)
    assert (job["status"], job["error"]["type"]) == ("failed", "DeadLettered")


def make_overdue(deployment: Deployment, job_id: str, wake_in: float = -1) -> None:
    """As if the job's time had come and its message been lost. (Its real message comes long after the test.)"""
    now = int(time.time() * 1000)
    deployment.emulator.client("dynamodb").update_item(
        TableName=deployment.outputs["TableName"],
        Key={"pk": {"S": f"job#{job_id}"}, "sk": {"S": "job"}},
        UpdateExpression="SET run_at = :run, wake_at = :wake",
        ExpressionAttributeValues={":run": {"N": "0"}, ":wake": {"N": str(now + int(wake_in * 1000))}},
    )
