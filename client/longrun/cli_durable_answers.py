"""Questions that jobs ask: which are open, what an answer may be, and how a person is asked for it."""

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from longrun.cli_output import Output
from longrun.cli_text import as_json, as_text, cleaned
from longrun.errors import InvalidRequest
from longrun.models import Event, Question, Status

WORDS = {"boolean": "yes or no", "integer": "a whole number", "number": "a number", "string": "text"}
YES, NO = frozenset({"yes", "y", "true"}), frozenset({"no", "n", "false"})


class Open:
    """The questions that a job asks now, as its events tell; several steps may ask at a time."""

    def __init__(self, job_id: str) -> None:
        self.questions: tuple[Question, ...] = ()
        self._job_id = job_id
        #: By the steps that ask: a question is told of once, however often the job then waits for its answer.
        self._asked: dict[str, Question] = {}

    def take(self, event: Event) -> None:
        """Take in what happened."""
        data = event.data
        if event.type == "question" and data.get("name"):
            question = Question(id=str(data.get("id")), question=str(data.get("question")))
            schema = data.get("schema")
            self._asked[str(data["name"])] = question.model_copy(
                update={"answer_schema": schema if isinstance(schema, dict) else None}
            )
        elif event.type == "status":
            steps = data.get("waits_for") if data.get("status") == Status.WAITING else None
            waiting = steps if isinstance(steps, list) else []
            self.questions = tuple(self._asked[step] for step in waiting if step in self._asked)

    def lines(self) -> tuple[tuple[str, str], ...]:
        """Each open question, and the command that answers it."""
        alone = len(self.questions) == 1
        return tuple((one.question, answering(self._job_id, None if alone else one.id)) for one in self.questions)


def answering(job_id: str, question: str | None) -> str:
    """The command that answers a question, which need not be named where it is the only one."""
    return f"longrun answer {job_id}" + (f" --question {question}" if question else "")


def expected(schema: Mapping[str, Any] | None) -> str:
    """What the answer is to be, in words."""
    match schema or {}:
        case {"enum": [*choices]}:
            return "one of: " + ", ".join(map(as_text, choices))
        case {"const": only}:
            return as_text(only)
        case {"type": str(kind)}:
            return WORDS.get(kind, "JSON")
    return "JSON"


def read_answer(text: str, schema: Mapping[str, Any] | None) -> Any:
    """The answer that a person's text stands for. Raises ValueError, saying what it is to be."""
    word = text.strip().lower()
    match schema or {}:
        case {"enum": [*_]} | {"const": _}:
            rules = schema or {}
            choices = {as_text(choice): choice for choice in rules.get("enum", [rules.get("const")])}
            if text.strip() in choices:
                return choices[text.strip()]
        case {"type": "string"}:
            return text
        case {"type": "boolean"} if word in YES | NO:
            return word in YES
        case {"type": "integer"} if word.lstrip("+-").isdecimal():
            return int(word)
        case {"type": "boolean" | "integer"}:
            pass
        case _:
            return _read_json(text, expected(schema))
    raise ValueError(f"the answer must be {expected(schema)}")


def _read_json(text: str, what: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the answer must be {what}: {error}") from error
    if what == "a number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"the answer must be {what}")
    return value


def prompt(output: Output, question: Question) -> Any:
    """Asks at the terminal until there is an answer."""
    output.err.print(Text(cleaned(question.question), "bold"), soft_wrap=True)
    what = expected(question.answer_schema)
    if what == "JSON" and question.answer_schema:
        output.note(as_json(question.answer_schema))
    while True:
        text = output.err.input(Text(cleaned(f"{what}: "), "magenta"))
        try:
            return read_answer(text, question.answer_schema)
        except ValueError as error:
            output.note(str(error), "red")


def refusal(error: InvalidRequest) -> str:
    """What the service has against an answer."""
    return "; ".join(wrong.msg for wrong in error.errors) or str(error)
