"""What the tests of research share: a question, a model that researches it, and the check of a report."""

from __future__ import annotations

import re
from typing import Any

from tasks.kit.reading import read
from tests.model_server import Calls, Request, Says, Step

QUESTION = "How long does the worker hold a lease, and what happens when it dies?"


class Researcher:
    """A language model that does what it is asked for, and cites what it is shown. Its parts are replaced by tests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.report = (
            "A lease lasts sixty seconds [{first}], they say [999].\n\n## Death\n\nIt runs again [{last}][{first}].\n"
        )

    def __call__(self, request: Request) -> Step:
        asked = request.text
        if "Take the question apart" in asked:
            return self.plan()
        numbers = re.findall(r'<passage id=\\"(\d+)\\"', asked)
        if "You get passages of one source" in asked:
            return self.note(asked, numbers)
        return self.write(numbers)

    def plan(self) -> Step:
        return Calls("final_result", sub_questions=["How long is a lease?", "What if the worker dies?"])

    def note(self, asked: str, numbers: list[str]) -> Step:
        relevant = "lease" in asked.split("<passage", 1)[1]
        return Calls("final_result", relevant=relevant, summary=f"It says something [{numbers[0]}].")

    def write(self, numbers: list[str]) -> Step:
        return Says(self.report.format(first=numbers[0], last=numbers[-1]))


def lease(n: int) -> str:
    return (
        f"The worker of house {n} holds a lease of {n} seconds. When it dies, another one takes the job of house {n}."
    )


def cites(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", text)]


def check(found: dict[str, Any], originals: dict[str, tuple[str, bytes]]) -> None:
    """Every number in the report has one citation and the other way round, and each passage stands in its source."""
    numbers = [citation["number"] for citation in found["citations"]]
    assert sorted(set(cites(found["report"]))) == numbers == list(range(1, len(numbers) + 1))
    for citation in found["citations"]:
        source = read(*originals[citation["source"]])
        assert citation["passage"]
        assert citation["passage"] in source.text
        assert citation["title"] == source.title
    used = {source["source"] for source in found["sources"] if source["status"] == "used"}
    assert used == {citation["source"] for citation in found["citations"]}
