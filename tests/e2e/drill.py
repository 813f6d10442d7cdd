"""A task that does what tasks do; `make permissions` deploys it beside the others."""

from __future__ import annotations

from pydantic import BaseModel

from common.tasks import Context, Permanent, task


class Drill(BaseModel):
    kind: str = "child"


@task
async def drill(ctx: Context, input: Drill) -> str:
    match input.kind:
        case "children":
            ended = await ctx.gather(drill, [Drill(), Drill()], concurrency=1)
            return " ".join(child.result for child in ended)
        case "abandon":
            await ctx.gather(drill, [Drill(kind="fail"), Drill(kind="sleep")], fail_fast=True)
        case "question":
            return str(await ctx.ask("Well?", schema=str))
        case "sleep":
            await ctx.sleep(seconds=6)
        case "steps":
            long = await ctx.step("long", "x".__mul__, 300_000)
            await ctx.step("short", len, long)
            raise Permanent("both steps are done")
        case "fail":
            raise Permanent("as it was told")
        case "chat":
            ctx.remember("drill", {"said": "hello"})
        case _:
            pass
    return input.kind
