"""`make demo`: a stack of its own, this repo's Markdown files, two jobs, their progress, their results; then all is gone."""

import contextlib
import io
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dev import interruptible
from dev.api import Api, loaded
from dev.emulator import listen
from dev.kept import BROKEN, open_stack
from dev.logs import Stream
from dev.package import ROOT
from longrun import Client, Job, LongrunError

QUESTION = "What happens to a job whose worker dies?"

#: Seconds that a job may take before something must be wrong.
LIMIT = 300

#: Columns and lines of what is shown.
WIDTH, SUMMARY, PHRASES = 120, 200, 4
LOG_LINES = 40


class DemoFailed(Exception):
    """The job ended, but not as it should."""


def main() -> int:
    interruptible()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    log = io.StringIO()
    try:
        with local_stack(console, Stream(Console(file=log, width=WIDTH, soft_wrap=True))) as url, Client(url) as client:
            demonstrate(client, console)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (DemoFailed, LongrunError, *BROKEN) as error:
        last = log.getvalue().splitlines()[-LOG_LINES:]
        console.print(Text("\n".join(["The last lines of the stack's log:", *last]), "dim"), soft_wrap=True)
        console.print(Text(f"The demo failed: {error}", "bold red"), soft_wrap=True)
        return 1
    console.print("Stopped. To have it stay: [bold]make run[/bold]")
    return 0


@contextlib.contextmanager
def local_stack(console: Console, stream: Stream) -> Iterator[str]:
    """The address of a stack of our own, on free ports and with nothing stored."""
    started = time.monotonic()
    console.print("Starting the API, its table, queue and functions on this machine …")
    with (
        tempfile.TemporaryDirectory(prefix="longrun-demo-", ignore_cleanup_errors=True) as home,
        listen(0) as listener,
        loaded(Api(listener, stream.api)) as api,
        open_stack(Path(home), on_line=stream.emulator, say=stream.say) as kept,
    ):
        api.prepare(kept.stack.settings())
        api.serve()
        console.print(f"Started in {time.monotonic() - started:.1f} s.")
        yield f"http://localhost:{api.port}"


def demonstrate(client: Client, console: Console) -> None:
    ids = store_documents(client)
    console.print(f"Stored {len(ids)} Markdown files of this repository as documents.")
    result = done(client, console, "analyze_documents", {"document_ids": ids}, total=len(ids))
    console.print(as_table(result["results"]))
    failed = [each["document_id"] for each in result["results"] if "error" in each]
    if failed or len(result["results"]) != len(ids):
        raise DemoFailed(f"these documents were not analysed: {', '.join(failed) or 'some are missing'}")
    report = done(client, console, "research", {"query": QUESTION, "documents": ids}, total=len(ids))
    console.print(as_report(report))
    if dangling := unresolved(report):
        raise DemoFailed(f"these citations lead nowhere: {', '.join(map(str, dangling))}")


def done(client: Client, console: Console, task: str, given: dict[str, Any], *, total: int) -> Any:
    """The result of a job that was submitted and watched to its end."""
    job = client.submit(task, given)
    console.print(f"Submitted {task} as job {job.id}; a worker takes it next.")
    started = time.monotonic()
    with shown(console, total) as show:
        job = client.wait(job.id, timeout=LIMIT, on_change=show)
    result = client.result(job)
    console.print(f"{job.status} in {time.monotonic() - started:.1f} s.\n")
    return result


def store_documents(client: Client) -> list[str]:
    """The ids of this repo's Markdown files, each stored under its path."""
    ids = []
    for path in markdown_files():
        name = "-".join(path.relative_to(ROOT).parts)
        client.put_document(name, path.read_bytes(), content_type="text/markdown")
        ids.append(name)
    return ids


def markdown_files() -> list[Path]:
    """Not those of installed packages, of builds, or of the tests' own cases."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    mine = (path for path in found if path.parts[0] not in ("build", "tests"))
    return sorted(ROOT / path for path in mine if not any(part.startswith(".") for part in path.parts))


@contextlib.contextmanager
def shown(console: Console, total: int) -> Iterator[Callable[[Job], None]]:
    """What to call with the job each time that it has changed: it moves a bar, or writes a line where none can move."""
    if not console.is_terminal:
        yield lambda job: console.print(f"  {job.status} {counted(job)[0]}/{total} {counted(job)[1]}".rstrip())
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=40))
    with Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("pending", total=total)

        def move(job: Job) -> None:
            done, message = counted(job)
            progress.update(bar, completed=done, description=f"{job.status:<9} {message:<40.40}")

        yield move


def counted(job: Job) -> tuple[int, str]:
    """How many documents are done, and what the task says about it."""
    said = job.progress
    return (int(said.current or 0), said.message or "") if said else (0, "")


def as_table(results: list[dict[str, Any]]) -> Table:
    table = Table("title", "words", "language", "key phrases", "summary", show_lines=True)
    for each in results:
        if "error" in each:
            error = Text(f"{each['error']['type']}: {each['error']['message']}", "red")
            table.add_row(Text(each["document_id"]), "", "", "", error)
        else:
            phrases = ", ".join(each["key_phrases"][:PHRASES])
            summary = shortened(each["summary"])
            texts = (each["title"] or each["document_id"], f"{each['words']:,}", each["language"], phrases, summary)
            table.add_row(*map(Text, texts))
    return table


def as_report(report: dict[str, Any]) -> Group:
    """The report, and where each of its citations leads."""
    sources = Table("citation", "source", "passage", show_lines=True)
    for each in report["citations"]:
        sources.add_row(*map(Text, (f"[{each['number']}]", each["source"], shortened(each["passage"]))))
    return Group(Markdown(report["report"]), "", sources, Text(report["model"].get("note", ""), "dim"))


def unresolved(report: dict[str, Any]) -> list[int]:
    """The numbers in the report's text that no citation has."""
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", report["report"])}
    return sorted(cited - {each["number"] for each in report["citations"]})


def shortened(text: str) -> str:
    return text if len(text) <= SUMMARY else text[:SUMMARY].rsplit(" ", 1)[0] + " …"


if __name__ == "__main__":
    sys.exit(main())
