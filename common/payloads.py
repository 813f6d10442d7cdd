"""Where inputs and results are kept: in the job, beside it, or in the bucket, by their size.

Every write of a job's item bills the whole item, so only what is small stays in it. Keys carry the content's hash or the
attempt, so that neither a lost race for an idempotency key nor a stale worker can overwrite what the winner stored.
"""

from __future__ import annotations

import hashlib

from common.blobs import Blobs
from common.errors import TooLarge
from common.jobs import MAX_LIFE, MAX_PAYLOAD, Payload
from common.store import Store

#: Largest text in the job's own item, in bytes.
INLINE = 1_000
#: Largest text in an item of its own, in bytes.
ITEM = 100_000


class Payloads:
    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    def put_input(self, job_id: str, text: str, now: float) -> Payload:
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._put(job_id, f"input#{digest}", text, now)

    def put_result(self, job_id: str, attempt: int, text: str, now: float) -> Payload:
        return self._put(job_id, f"result#{attempt}", text, now)

    def put_step(self, job_id: str, name: str, text: str) -> Payload:
        """A step has an item of its own, so only what is too large for that goes elsewhere. `name` is never used twice."""
        data = text.encode()
        if len(data) <= ITEM:
            return Payload(size=len(data), inline=text)
        key = f"jobs/{job_id}/step-{name}"
        self._blobs.put(key, data, "application/json")
        return Payload(size=len(data), blob=key)

    def get(self, job_id: str, payload: Payload) -> str:
        """The JSON text. Raises NotFound when it is not stored any more."""
        if payload.inline is not None:
            return payload.inline
        if payload.item is not None:
            return self._store.get_text(job_id, payload.item)
        return self._blobs.get(payload.blob or "", MAX_PAYLOAD).decode()

    def forget(self, job_id: str) -> None:
        """Deletes what the bucket holds for the job."""
        self._blobs.delete_below(f"jobs/{job_id}/")

    def _put(self, job_id: str, name: str, text: str, now: float) -> Payload:
        data = text.encode()
        if len(data) > MAX_PAYLOAD:
            raise TooLarge(f"{len(data):,} bytes; at most {MAX_PAYLOAD:,} are kept.")
        if len(data) <= INLINE:
            return Payload(size=len(data), inline=text)
        if len(data) <= ITEM:
            self._store.put_text(job_id, name, text, now + MAX_LIFE)
            return Payload(size=len(data), item=name)
        key = f"jobs/{job_id}/{name.replace('#', '-')}"
        self._blobs.put(key, data, "application/json")
        return Payload(size=len(data), blob=key)
