"""The commands about jobs that go on later: their questions, another go for those that ended badly, and their children."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from longrun.cli_durable_answers import answering, expected, prompt, read_answer, refusal
from longrun.cli_durable_tree import Asking, drawn
from longrun.cli_jobs import JobId
from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.cli_text import time_text
from longrun.cli_watch import finish
from longrun.client import Client
from longrun.errors import InvalidRequest
from longrun.models import Job, Question, Status


def ask(
    ctx: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The job's id; without one, all jobs.", show_default=False)
    ] = None,
) -> None:
    """Show what a waiting job asks, or, without an id, what all of them do."""
    client, output = session(ctx)
    jobs = _waiting(client) if job_id is None else iter((client.get(job_id),))
    found = [(job, question) for job in jobs for question in job.questions]
    if output.machine:
        output.document({"questions": [_described(job, question) for job, question in found]})
        return
    output.table(
        ("JOB", "QUESTION", "ANSWER", "UNTIL", "ID"),
        ((job.id, one.question, expected(one.answer_schema), time_text(one.expires_at), one.id) for job, one in found),
    )
    if found:
        job, question = found[0]
        output.note(f"answer with `{answering(job.id, question.id if len(job.questions) > 1 else None)}`")


def answer(
    ctx: typer.Context,
    job_id: JobId,
    given: Annotated[
        str | None,
        typer.Argument(metavar="[ANSWER]", help="yes, 42, some text; without it you are asked.", show_default=False),
    ] = None,
    *,
    question: Annotated[
        str | None, typer.Option(metavar="QUESTION", help="Its id, where several are open; see `longrun ask`.")
    ] = None,
    json_answer: Annotated[bool, typer.Option("--json-answer", help="ANSWER is JSON, whatever is asked for.")] = False,
) -> None:
    """Answer what a waiting job asks: it goes on."""
    client, output = session(ctx)
    asked = _the_one(client.get(job_id), question)
    if given is None:
        job = _ask_until_it_fits(client, output, job_id, asked)
    else:
        job = client.answer(job_id, _read(given, asked, json_answer=json_answer), asked.id)
    if output.machine:
        output.document(job)
    else:
        output.note(f"answered; job {job.id} is {job.status}")


def retry(
    ctx: typer.Context,
    job_id: JobId,
    *,
    from_step: Annotated[
        str | None, typer.Option(metavar="NAME", help="Forget this step and those after it: they run again.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end and write the result.")] = False,
    key: Annotated[
        str | None, typer.Option(metavar="IDEMPOTENCY_KEY", help="With the same key it is done once.")
    ] = None,
) -> None:
    """Run a failed or cancelled job again, from where it stopped."""
    client, output = session(ctx)
    job = client.retry(job_id, from_step, idempotency_key=key)
    if wait:
        finish(client, output, job.id, after=max(0, (job.last_event or 0) - 1))
    elif output.machine:
        output.document(job)
    else:
        output.note(f"job {job.id} is {job.status}; watch it with `longrun watch {job.id}`")


def tree(
    ctx: typer.Context,
    job_id: JobId,
    *,
    depth: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many generations of children.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every child; else a big family's completed ones are only counted.")
    ] = False,
) -> None:
    """Show the jobs that a job's steps have begun, and theirs."""
    client, output = session(ctx)
    family = Asking(client, depth, every).family(client.get(job_id))
    if output.machine:
        output.document(family)
    else:
        output.out.print(drawn(family), soft_wrap=True)


def _waiting(client: Client) -> Iterator[Job]:
    """Every waiting job, as a list does not show it."""
    return (client.get(job.id) for job in client.jobs(status=Status.WAITING))


def _described(job: Job, question: Question) -> dict[str, Any]:
    return {"job": job.id, "task": job.task} | question.model_dump(mode="json")


def _the_one(job: Job, question: str | None) -> Question:
    """The open question that is meant."""
    found = [one for one in job.questions if question in (None, one.id)]
    if len(found) == 1:
        return found[0]
    if not job.questions:
        raise typer.BadParameter(f"job {job.id} is {job.status} and asks nothing", param_hint="ID")
    known = "; ".join(f"{one.id} ({one.question})" for one in job.questions)
    raise typer.BadParameter(f"name one of the open questions: {known}", param_hint="--question")


def _read(given: str, asked: Question, *, json_answer: bool) -> Any:
    try:
        return json.loads(given) if json_answer else read_answer(given, asked.answer_schema)
    except ValueError as error:
        reason = f"not JSON: {error}" if json_answer else str(error)
        raise typer.BadParameter(reason, param_hint="ANSWER") from error


def _ask_until_it_fits(client: Client, output: Output, job_id: str, asked: Question) -> Job:
    if output.machine or not sys.stdin.isatty():
        raise typer.BadParameter("missing, and there is no terminal to ask at", param_hint="ANSWER")
    while True:
        try:
            return client.answer(job_id, prompt(output, asked), asked.id)
        except InvalidRequest as error:
            output.note(refusal(error), "red")
