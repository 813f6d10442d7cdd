"""Puts stragglers where the sweeper looks: jobs that, within the stream's window, neither end nor go there by themselves.

A job is put into the table without an entry in the index of unfinished items, which would cost two writes that only lost
messages and dead workers need. A worker's first renewal puts it there, and so does every move that lays a job down; this
does it for those that nobody has had for so long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.telemetry import logger
from common.wiring import Services


def enlist(services: Services, records: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many jobs it put there, and the numbers of the records that must be shown again: the table took no write."""
    changes = [record["dynamodb"] for record in records]
    latest = {each["Keys"]["pk"]["S"]: each for each in changes if each["Keys"]["sk"]["S"] == "job"}
    enlisted, failed = 0, []
    for pk, change in latest.items():
        if not _is_straggler(change.get("NewImage", {})):
            continue
        job_id = pk.removeprefix("job#")
        try:
            enlisted += services.store.enlist(job_id)
        except Exception as error:  # noqa: BLE001  # the others are looked after all the same
            logger.error("not enlisted", job_id=job_id, error=type(error).__name__, exc_info=error)
            failed.append(change["SequenceNumber"])
    return enlisted, failed


def _is_straggler(image: Mapping[str, Any]) -> bool:
    """The job has not ended, and the sweeper would not find it."""
    return "wake_at" in image and "due" not in image
