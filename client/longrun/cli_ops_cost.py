"""The command that says what a month of given traffic costs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.costs import Line, Traffic, bill, prices

#: Parts below so many dollars are shown as one.
SMALL = 0.005


def cost(
    ctx: typer.Context,
    *,
    jobs: Annotated[float, typer.Option(min=0, help="Jobs a month; 1e6 is a million.")] = 1e6,
    polls: Annotated[float, typer.Option(min=0, help="Times that each job is asked for.")] = 2,
    seconds: Annotated[float, typer.Option(min=0, help="How long a job runs; it shares this time with its batch.")] = 0,
    memory: Annotated[int, typer.Option(min=256, max=10240, help="The worker's MB (WorkerMemory).")] = 1024,
    events: Annotated[
        float, typer.Option("--events-per-job", min=0, help="Pages of events, one a second at most.")
    ] = 0,
    progress: Annotated[float, typer.Option(min=0, help="Writes of progress of each job, one a second at most.")] = 0,
    steps: Annotated[float, typer.Option(min=0, help="Steps of each job.")] = 0,
    webhooks: Annotated[bool, typer.Option(help="Each end is told to a receiver.")] = False,
    arm: Annotated[bool, typer.Option("--arm/--x86", help="The functions' processor (Architecture).")] = True,
    together: Annotated[
        float, typer.Option(min=1, max=100, help="Jobs that are submitted in one call (POST /jobs:batch).")
    ] = 1,
    batch: Annotated[float, typer.Option(min=1, max=10, help="Messages that an invocation has; in a burst, 10.")] = 1,
    fair: Annotated[bool, typer.Option("--fair", help="With fair queues (FairQueues).")] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that a job waits before it is begun; longer in a backlog.")
    ] = Traffic.wait,
    call_ms: Annotated[
        float, typer.Option(min=0, help="How long an AWS call takes, in milliseconds.")
    ] = Traffic.call_ms,
    alarms: Annotated[bool, typer.Option(help="With the template's alarms.")] = True,
    free_tier: Annotated[
        bool, typer.Option("--free-tier", help="Without what each account has free each month.")
    ] = False,
    region: Annotated[str, typer.Option(help="Whose prices; the table has us-east-1.")] = "us-east-1",
) -> None:
    """Say what a month of given traffic costs, part by part, from counted AWS calls and a dated table of list prices."""
    output = session(ctx).output
    known = [name for name, value in prices().items() if isinstance(value, dict)]
    if region not in known:
        raise typer.BadParameter(f"prices are known of {', '.join(known)}", param_hint="--region")
    traffic = Traffic(
        jobs=jobs,
        polls=polls,
        seconds=seconds,
        progress=progress,
        events=events,
        steps=steps,
        webhooks=webhooks,
        memory=memory,
        architecture="arm64" if arm else "x86_64",
        together=together,
        batch=batch,
        fair=fair,
        wait=wait,
        call_ms=call_ms,
        alarms=alarms,
    )
    lines = bill(traffic, region, free_tier=free_tier)
    if output.machine:
        output.document(_described(traffic, lines, region, free_tier=free_tier))
    else:
        _show(output, traffic, lines, region)


def _show(output: Output, traffic: Traffic, lines: list[Line], region: str) -> None:
    floor, rest, calls = _sums(lines)
    rows = [
        (each.part.what, amount(each.part.quantity), each.unit, dollars(each.usd))
        for each in lines
        if each.usd >= SMALL
    ]
    small = sum(each.usd for each in lines if each.usd < SMALL)
    sums = [
        ("All else", "", "", dollars(small)),
        ("Without any traffic", "", "", dollars(floor)),
        (f"For {traffic.jobs:,.0f} jobs", "", "", dollars(rest)),
        ("  of it their calls, counted", "", "", dollars(calls)),
        ("  of it logs, metrics, time, data", "", "", dollars(rest - calls)),
        ("In all", "", "", dollars(floor + rest)),
    ]
    output.table(("PART", "QUANTITY", "UNIT", "USD A MONTH"), [*rows, *sums])
    output.note(
        f"List prices of {region} of {prices()['as_of']}; the calls were counted (`make bench`), times were not: "
    )
    output.note(
        f"an invocation takes {traffic.own_ms:g} ms and {traffic.call_ms:g} ms for each AWS call; {traffic.cold:.1%} of them "
        f"start cold, which takes {traffic.start_ms:g} ms more; a model's price comes on top."
    )


def _described(traffic: Traffic, lines: list[Line], region: str, *, free_tier: bool) -> dict[str, object]:
    floor, rest, calls = _sums(lines)
    parts = [asdict(each.part) | {"unit": each.unit, "usd": round(each.usd, 6)} for each in lines if each.part.quantity]
    assumed = asdict(traffic) | {"region": region, "free_tier": free_tier, "prices_as_of": prices()["as_of"]}
    sums = {"standing": floor, "traffic": rest, "calls": calls, "total": floor + rest}
    return {"usd_a_month": {name: round(usd, 2) for name, usd in sums.items()}, "parts": parts, "assumed": assumed}


def _sums(lines: Iterable[Line]) -> tuple[float, float, float]:
    """What is paid without any traffic, what for it, and what of that for calls."""
    lines = list(lines)
    floor = sum(each.usd for each in lines if each.part.floor)
    return floor, sum(each.usd for each in lines) - floor, sum(each.usd for each in lines if each.is_call)


def amount(quantity: float) -> str:
    """Whole numbers of much, and two digits behind the point of little."""
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.2f}"


def dollars(usd: float) -> str:
    """To the cent."""
    return f"{usd:,.2f}"
