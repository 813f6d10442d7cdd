"""The smallest example of a task."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from common.tasks import Context, task


class Anything(BaseModel):
    """Any JSON object; `seconds` is how long to wait before it comes back, `thoughts` how many to have meanwhile."""

    model_config = ConfigDict(extra="allow")

    seconds: float = Field(default=0, ge=0, le=900, allow_inf_nan=False)
    thoughts: int = Field(default=0, ge=0, le=10_000)


@task(timeout_seconds=300)
async def echo(ctx: Context, input: Anything) -> dict[str, Any]:
    """Returns its input; waits `seconds` first, with progress, or thinking so many `thoughts`."""
    for n in range(input.thoughts):
        await asyncio.sleep(input.seconds / input.thoughts)
        ctx.thought(f"{n + 1} of {input.thoughts}")
    started = time.monotonic()
    while not input.thoughts and (waited := time.monotonic() - started) < input.seconds:
        ctx.progress(100 * waited / input.seconds, message=f"waiting {input.seconds:g} s")
        await asyncio.sleep(min(0.25, input.seconds - waited))
    return input.model_dump(exclude_unset=True)
