"""Any JSON value comes back as it went in: from the input's own address, and as the result of a task that returns it."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.wiring import Services
from functions.api.body import MAX_DEPTH
from tests.functions.test_hostile_bodies import exactly, whole
from tests.handlers import Api, Worker

EXAMPLES = int(os.environ.get("LONGRUN_EXAMPLES", "25"))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**4000), 10**4000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
#: Characters beside the value, so that it lies in the job's item, in one of its own, and in the bucket.
PLACES = st.sampled_from([0, 2_000, 120_000])


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


@given(value=VALUES, beside=PLACES)
@example(value=nested(MAX_DEPTH - 3), beside=0)
@example(value=[-0.0, 0, 0.0, 1, 1.0, True, 5e-324, 1.7976931348623157e308, 2**53 + 1, -(2**64), 10**4299], beside=0)
@example(value={"é": 1, "e\u0301": 2, "": 3, "\0": 4, "\ufeff": 5, "$ref": 6, "__class__": 7}, beside=2_000)
@example(value='\0\x1f\x7f\u2028\u2029\ufffe\uffff\U0010ffff"\\/</script>', beside=120_000)
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_comes_back_as_it_went_in(
    api: Api, worker: Worker, services: Services, value: Any, beside: int
) -> None:
    sent = {"v": value, "beside": "x" * beside}
    submitted = api("POST", "/jobs", body=json.dumps({"task": "echo", "input": sent}).encode())
    assert submitted.status == 202, submitted.text
    job_id = submitted.json()["id"]
    assert worker() == []
    job = api.job(job_id)
    assert job["status"] == "completed", job["error"]
    assert exactly(whole(api, services, job, "input")) == exactly(sent)
    assert exactly(whole(api, services, job, "result")) == exactly(sent)
    for name in ("input", "result"):
        alone = api("GET", f"/jobs/{job_id}/{name}")
        assert (alone.status == 303) is (f"{name}_link" in job)
        if alone.status == 200:
            assert exactly(alone.json()) == exactly(sent)
