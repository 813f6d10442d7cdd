"""What the command line writes: for people, coloured on terminals; for machines, one JSON document on stdout."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from longrun.cli_errors import Failure
from longrun.cli_text import as_json, as_text, cleaned

#: Columns when it is not a terminal that reads: nothing is cut off.
UNBOUNDED = 10_000
ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True)
class Output:
    """Where results go (`out`), and what is said about them (`err`); with `machine`, both are JSON."""

    machine: bool
    out: Console
    err: Console

    @classmethod
    def standard(cls, *, machine: bool) -> "Output":
        """On this process's stdout and stderr."""
        return cls(machine, _console(stderr=False), _console(stderr=True))

    def document(self, value: Any) -> None:
        """Write one JSON document; of a job and the like, what the service sent."""
        typer.echo(as_json(ANYTHING.dump_python(value, mode="json", exclude_unset=True)))

    def json_line(self, value: BaseModel) -> None:
        """Write one value as a line of JSON."""
        typer.echo(value.model_dump_json(exclude_unset=True))

    def value(self, value: Any) -> None:
        """Write a job's result: text as it is, everything else as JSON."""
        if self.machine or not self.out.is_terminal:
            text = as_json(value) if self.machine else as_text(value)
            typer.echo(text, nl=not text.endswith("\n"))
        elif isinstance(value, str):
            self.out.print(Text(cleaned(value)), soft_wrap=True)
        else:
            self.out.print(JSON(json.dumps(value), ensure_ascii=True), soft_wrap=True)

    def line(self, text: str) -> None:
        """Write a line of the result, for people and pipes."""
        self.out.print(Text(cleaned(text)), soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Say something about what happens; machines are not told."""
        if not self.machine:
            self.err.print(Text(cleaned(text), style), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """Write a table. Its first column is never cut off."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for index, column in enumerate(columns):
            table.add_column(column, no_wrap=index == 0, overflow="ignore" if index == 0 else "fold")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cleaned(cell)) for cell in row))
        self.out.print(table)

    def facts(self, facts: Iterable[tuple[str, str | Text]]) -> None:
        """Write named facts, one below the other."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, fact in facts:
            grid.add_row(Text(name, "dim"), fact if isinstance(fact, Text) else Text(cleaned(fact)))
        self.out.print(grid)

    def failure(self, failed: Failure) -> None:
        """Say what went wrong and what to do next."""
        if self.machine:
            typer.echo(as_json(failed.as_json()), err=True)
            return
        self.err.print(Text.assemble(("error: ", "bold red"), cleaned(failed.message)), soft_wrap=True)
        for detail in failed.details:
            self.err.print(Text(cleaned(f"  {detail}")), soft_wrap=True)
        if failed.hint:
            self.err.print(Text.assemble(("hint: ", "bold"), cleaned(failed.hint)), soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=UNBOUNDED)
