"""What the tests of single jobs share: an input, what stands in the table, and a wish to cancel."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from common.jobs import Job, Status
from common.wiring import Services


class Given(BaseModel):
    model_config = ConfigDict(extra="allow")


def now(services: Services, job: Job) -> Job:
    found = services.store.get(job.id, services.clock(), consistent=True)
    assert found is not None
    return found


def result(services: Services, job: Job) -> str:
    assert job.result is not None
    return services.payloads.get(job.id, job.result)


def failed(job: Job) -> tuple[str, bool]:
    assert job.status is Status.FAILED
    assert job.error is not None
    return job.error.type, job.error.retryable


def ask_to_cancel(services: Services, job_id: str) -> None:
    job = services.store.get(job_id, services.clock(), consistent=True)
    assert job is not None
    services.store.request_cancel(job, "c", services.clock())
