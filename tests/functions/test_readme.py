"""The README's hours-long task, as it stands there, on moto: its children, its question, its two hours of sleep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import Permanent
from common.jobs import Job, Payload
from common.tasks import Registry
from common.wiring import Services
from functions.notifier.records import notify
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.functions.conftest import FAST
from tests.handlers import Api
from tests.post import Post, post_office

README = (Path(__file__).parents[2] / "README.md").read_text()
URLS = ["https://a.example", "https://gone.example", "https://b.example"]


@pytest.fixture
def post(services: Services, clock: Clock) -> Iterator[Post]:
    with post_office(services, clock, lambda: Courier(services, lambda: 0.5)) as office:
        yield office


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, effects: Counter[str]) -> Registry:
    """The README's tasks, and what they call."""
    registry = Registry()

    def fetch(url: str) -> str:
        effects["fetch"] += 1
        if "gone" in url:
            raise Permanent("it is gone")
        return f"page of {url}"

    async def ask_your_model(text: str) -> str:
        effects["model"] += 1
        return f"<{text}>"

    def publish(draft: str, *, idempotency_key: str) -> dict[str, str]:
        effects["publish"] += 1
        return {"draft": draft, "key": idempotency_key}

    blocks = [block.partition("```")[0] for block in README.split("```python\n")[1:]]
    [code] = [block for block in blocks if "ctx.gather" in block]
    known = {"__name__": "digest", "fetch": fetch, "ask_your_model": ask_your_model, "publish": publish}
    with monkeypatch.context() as patch:  # no longer: whatever is imported later is to see the real one
        patch.setattr("common.tasks.REGISTRY", registry)
        exec(compile(code, "README.md", "exec"), known)
    return registry


@pytest.mark.parametrize("publish", [True, False])
def test_the_readme_s_task_does_what_it_says(
    services: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    make_worker: Any,
    registry: Registry,
    post: Post,
    api: Api,
    effects: Counter[str],
    publish: bool,
) -> None:
    worker = make_worker(registry=registry, pace=FAST)
    task = registry.find("digest")
    assert task is not None
    text = task.input_type(urls=URLS).model_dump_json()
    job = make_job(task="digest", input=Payload(len(text), text), timeout_seconds=task.timeout_seconds)
    services.queues.send(job)

    def settle() -> dict[str, Any]:
        for _ in range(20):
            records = worker.receive()
            if records:
                worker.handle(records)
            changes = post.records()
            notify(services, changes)
            if not records and not changes:
                return api.job(job.id)
        raise AssertionError("it goes on and on")

    asking = settle()
    assert asking["status"] == "waiting"
    [question] = asking["questions"]
    draft = "<<page of https://a.example>\n<page of https://b.example>>"
    assert question["question"] == f"Publish this? {draft}"
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": publish}).status == 202
    ended = settle()
    if publish:
        assert (ended["status"], ended["questions"]) == ("waiting", []), "it sleeps for two hours"
        clock.advance(2 * 3_600)
        services.queues.send(job)
        ended = settle()
    assert (ended["status"], ended["attempt"]) == ("completed", 1)
    assert ended["result"] == ({"draft": draft, "key": f"{job.id}:publish"} if publish else "not published")
    assert effects == {"fetch": 3, "model": 3} | ({"publish": 1} if publish else {})
