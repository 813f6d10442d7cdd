"""Waiting for jobs and fetching their results, small and large; and sending what is too large for the front door."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import longrun
from longrun import Job
from longrun.uploads import LARGE
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, job_view, problem

#: A link as S3 signs it: escapes and order must arrive as they were made.
SIGNED = "/bucket/r%2B1.json?X-Amz-Credential=AK%2F20260131%2Fus-east-1&X-Amz-Signature=ab%2Bc%3D&b=2&a=1~"


@pytest.fixture
def storage() -> Iterator[ScriptedService]:
    with ScriptedService().running() as storage:
        yield storage


def moved(percent: int, **more: Any) -> dict[str, Any]:
    return job_view("running", progress={"percent": percent, "message": f"at {percent}"}, **more)


def test_waiting_is_by_long_polls(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view("running"), job_view("running"), job_view("completed", result=7))
    assert call("wait", "j1").result == 7
    assert [sent.query for sent in service.seen] == [{"wait": "20"}] * 3


def test_a_poll_that_was_held_is_followed_at_once(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view("running"), job_view("completed"))
    ticks = iter([0.0, 20.0, 20.0, 21.0])
    call.options = {"clock": lambda: next(ticks)}
    call("wait", "j1")
    assert call.sleeps == [0]


def test_the_time_that_a_poll_was_held_counts_as_waited(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", Reply(200, job_view("running"), {"Retry-After": "15"}), job_view("completed"))
    ticks = iter([0.0, 12.0, 15.0, 15.0])
    call.options = {"clock": lambda: next(ticks)}
    call("wait", "j1")
    assert call.sleeps == [3.0]


def test_without_a_word_from_the_service_pauses_grow_while_nothing_changes(
    service: ScriptedService, call: Caller
) -> None:
    same = [moved(10)] * 6
    service.on("GET /jobs/j1", *same, moved(20), job_view("completed"))
    call.random = lambda: 1.0
    call("wait", "j1")
    assert call.sleeps == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 0.5]


def test_the_pause_that_the_service_asks_for_is_kept(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", Reply(200, job_view("running"), {"Retry-After": "3"}), job_view("completed"))
    call("wait", "j1")
    assert call.sleeps == [3.0]


def test_each_change_is_told_once(service: ScriptedService, call: Caller) -> None:
    renewed = moved(10, updated_at="2026-01-31T12:00:40Z")
    service.on("GET /jobs/j1", job_view(), moved(10), renewed, moved(20), job_view("completed"))
    told: list[Job] = []
    call("wait", "j1", on_change=told.append)
    assert [(job.status, job.progress and job.progress.percent) for job in told] == [
        ("pending", None),
        ("running", 10),
        ("running", 20),
        ("completed", None),
    ]
    assert [sent.query for sent in service.seen] == [{}, *[{"wait": "20"}] * 4], "the first look is not held"


def test_an_async_callback_is_awaited(service: ScriptedService) -> None:
    service.on("GET /jobs/j1", job_view("completed"))
    told: list[str] = []

    async def tell(job: Job) -> None:
        told.append(job.id)

    Caller("async", service.url)("wait", "j1", on_change=tell)
    assert told == ["j1"]


def test_what_has_not_changed_is_not_sent_again(service: ScriptedService, call: Caller) -> None:
    first = Reply(200, moved(10), {"ETag": '"v1"'})
    service.on("GET /jobs/j1", first, Reply(304, headers={"Retry-After": "1"}), job_view("completed"))
    told: list[Job] = []
    assert call("wait", "j1", on_change=told.append).status == "completed"
    assert [sent.headers.get("if-none-match") for sent in service.seen] == [None, '"v1"', '"v1"']
    assert [job.status for job in told] == ["running", "completed"]


def test_waiting_survives_a_service_that_is_away_for_a_moment(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", moved(10), problem(503), DROP, job_view("completed"))
    assert call("wait", "j1").status == "completed"


def test_waiting_ends_in_time_and_the_job_goes_on(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", Reply(200, job_view("running"), {"Retry-After": "4"}))
    with pytest.raises(TimeoutError, match="did not end within 10 s and goes on") as caught:
        call("wait", "j1", timeout=10)
    assert isinstance(caught.value, longrun.WaitTimeout)
    assert caught.value.job.status == "running"
    assert call.now == 10, "not a moment longer"
    assert [sent.query.get("wait") for sent in service.seen] == ["10", "6", "2", None]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_waiting_itself_takes_every_ending(service: ScriptedService, call: Caller, status: str) -> None:
    service.on("GET /jobs/j1", job_view(status))
    assert call("wait", "j1").status == status


def test_run_gives_the_result(service: ScriptedService, call: Caller) -> None:
    class Answer(BaseModel):
        answer: int

    service.on("POST /jobs", Reply(202, job_view()))
    service.on("GET /jobs/j1", job_view("running"), job_view("completed", result={"answer": 42}))
    told: list[Job] = []
    options: dict[str, Any] = {"max_attempts": 2, "on_change": told.append}
    assert call("run", "research", {"query": "?"}, result_type=Answer, **options) == Answer(answer=42)
    assert service.seen[0].json["max_attempts"] == 2
    assert len(service.seen) == 3, "the last poll had the result in it"
    assert len(told) == 2


def test_run_of_a_job_that_fails_says_why(service: ScriptedService, call: Caller) -> None:
    error = {"type": "TaskTimeout", "message": "Task timed out after 300 s", "retryable": False, "attempt": 2}
    service.on("POST /jobs", Reply(202, job_view()))
    service.on("GET /jobs/j1", job_view("failed", error=error, attempt=2))
    with pytest.raises(longrun.JobFailed) as caught:
        call("run", "research")
    assert str(caught.value) == "job j1 failed: TaskTimeout: Task timed out after 300 s (attempt 2)"
    assert caught.value.job.id == "j1"
    assert (caught.value.error.type, caught.value.error.attempt) == ("TaskTimeout", 2)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("failed", longrun.JobFailed),
        ("cancelled", longrun.JobCancelled),
        ("running", longrun.JobUnfinished),
        ("hibernating", longrun.JobUnfinished),
    ],
)
def test_a_job_without_result_says_so(
    service: ScriptedService, call: Caller, status: str, error: type[longrun.JobProblem]
) -> None:
    service.on("GET /jobs/j1", job_view(status))
    with pytest.raises(error) as caught:
        call("result", "j1")
    assert type(caught.value) is error


@pytest.mark.parametrize("result", [None, 0, "", [], {"a": [1.5, "ü"]}])
def test_a_small_result_comes_with_the_job(service: ScriptedService, call: Caller, result: Any) -> None:
    service.on("GET /jobs/j1", job_view("completed", result=result))
    assert call("result", "j1") == result
    assert len(service.seen) == 1


def test_a_result_of_another_type_is_refused(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view("completed", result={"a": 1}))
    with pytest.raises(longrun.InvalidResult, match="the result of job j1 is not as asked for"):
        call("result", "j1", result_type=list[int])


def test_a_large_result_is_downloaded_without_our_key(
    service: ScriptedService, storage: ScriptedService, call: Caller
) -> None:
    service.on("GET /jobs/j1", job_view("completed", result_link="/jobs/j1/result"))
    service.on("GET /jobs/j1/result", Reply(303, headers={"Location": storage.url + SIGNED}))
    storage.on("GET /bucket/r%2B1.json", Reply(503, b"<Error/>"), Reply(200, {"large": True}))
    assert call("result", "j1") == {"large": True}
    assert [sent.target for sent in storage.seen] == [SIGNED, SIGNED]
    assert all("authorization" not in sent.headers for sent in storage.seen)
    assert all(sent.headers["authorization"] == "Bearer secret-key" for sent in service.seen)


def test_a_result_behind_a_link_may_be_answered_directly(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view("completed", result_link="/jobs/j1/result"))
    service.on("GET /jobs/j1/result", Reply(200, [1, 2]))
    assert call("result", "j1", result_type=tuple[int, int]) == (1, 2)


def test_a_download_that_is_refused_is_no_matter_of_our_key(
    service: ScriptedService, storage: ScriptedService, call: Caller
) -> None:
    service.on("GET /jobs/j1", job_view("completed", result_link="/jobs/j1/result"))
    service.on("GET /jobs/j1/result", Reply(303, headers={"Location": f"{storage.url}/gone"}))
    storage.on("GET /gone", Reply(403, b"<Error>expired</Error>"))
    with pytest.raises(longrun.TransferFailed, match=r"download was refused by the storage .*403"):
        call("result", "j1")


def test_a_job_in_hand_is_not_asked_for_again_unless_it_must_be(service: ScriptedService, call: Caller) -> None:
    ended = Job.model_validate(job_view("completed", result=7))
    listed = Job(id="j1", task="research", status="completed")
    submitted = Job.model_validate(job_view("pending"))
    service.on("GET /jobs/j1", job_view("completed", result=8))
    assert call("result", ended) == 7
    assert service.seen == []
    assert [call("result", job) for job in (listed, submitted)] == [8, 8]


def upload_slot(storage: ScriptedService, **headers: str) -> Reply:
    slot = {"upload_id": "u1", "url": storage.url + "/up?sig=a%2Fb", "method": "PUT", "headers": headers}
    return Reply(201, slot | {"expires_at": "2026-01-31T13:00:00Z"})


def test_a_large_input_goes_to_storage_without_our_key(
    service: ScriptedService, storage: ScriptedService, call: Caller
) -> None:
    given = {"text": "ü" * (LARGE // 2)}
    size = str(len(json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()))
    service.on("POST /uploads", DROP, upload_slot(storage, **{"Content-Length": size, "x-amz-meta-owner": "local"}))
    service.on("POST /jobs", problem(503), Reply(202, job_view()))
    storage.on("PUT /up", Reply(503, b""), Reply(200, b""))
    call("submit", "research", given, metadata={"k": "v"})
    *_, put = storage.seen
    assert put.json == given
    assert put.target == "/up?sig=a%2Fb"
    assert (put.headers["content-length"], put.headers["x-amz-meta-owner"]) == (size, "local")
    assert not {"authorization", "content-type", "transfer-encoding"} & {*put.headers}
    assert service.asked("POST /uploads")[-1].json == {"bytes": int(size)}
    jobs = service.asked("POST /jobs")
    assert jobs[0].json == jobs[1].json == {"task": "research", "upload": "u1", "metadata": {"k": "v"}}
    assert jobs[0].headers["idempotency-key"] == jobs[1].headers["idempotency-key"]


def test_an_input_just_small_enough_is_sent_along(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    call("submit", "research", "x" * (LARGE - 2))
    assert len(service.seen[0].json["input"]) == LARGE - 2


def test_an_input_larger_than_the_service_takes_is_refused_before_it_is_sent(
    service: ScriptedService, call: Caller
) -> None:
    service.on("POST /uploads", problem(413, "Too large", detail="at most 50 MB"))
    with pytest.raises(longrun.InvalidRequest, match="at most 50 MB"):
        call("submit", "research", "x" * LARGE)
    assert len(service.seen) == 1


def document_view(**more: Any) -> Reply:
    view = {"id": "notes.md", "content_type": "text/markdown", "bytes": 4, "created_at": "2026-01-31T12:00:00Z"}
    return Reply(201, view | more)


def test_a_document_is_put_as_it_is(service: ScriptedService, call: Caller) -> None:
    service.on("PUT /documents/notes.md", document_view())
    stored = call("put_document", "notes.md", "# ü", content_type="text/markdown")
    assert (stored.id, stored.bytes) == ("notes.md", 4)
    assert service.seen[0].body == "# ü".encode()
    assert service.seen[0].headers["content-type"] == "text/markdown"


def test_a_large_document_goes_to_storage(service: ScriptedService, storage: ScriptedService, call: Caller) -> None:
    service.on("POST /uploads", upload_slot(storage))
    service.on("PUT /documents/big.pdf", document_view(id="big.pdf"))
    storage.on("PUT /up", Reply(200, b""))
    content = b"\x00\xff" * (LARGE // 2) + b"!"
    call("put_document", "big.pdf", content, content_type="application/pdf")
    assert storage.seen[0].body == content
    [put] = service.asked("PUT /documents/big.pdf")
    assert (put.query, put.body, put.headers["content-type"]) == ({"upload": "u1"}, b"", "application/pdf")


def test_documents_are_listed_and_forgotten(service: ScriptedService, call: Caller) -> None:
    pages = [{"documents": [{"id": name, "content_type": "text/plain", "bytes": 1}]} for name in "ab"]
    service.on("GET /documents", pages[0] | {"next_cursor": "c"}, pages[1] | {"next_cursor": None})
    service.on("DELETE /documents/a", Reply(204))
    assert [document.id for document in call("documents")] == ["a", "b"]
    assert call("delete_document", "a") is None
    with pytest.raises(longrun.NotFound):
        call("delete_document", "missing")
