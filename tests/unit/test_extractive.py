"""The model that selects: what it calls, what it answers, and that it never invents."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolFailed
from pydantic_ai.messages import ModelMessage, ToolCallPart

from tasks.kit.adapters.choosing import arithmetic
from tasks.kit.adapters.forms import names, sub_questions
from tasks.kit.calculating import calculate
from tasks.kit.extractive import NO_MATCH, NOTHING, answer, key_words, select
from tasks.kit.passages import Index, passages
from tasks.kit.prompts import Source, read_prompt
from tasks.models import chosen, open_model

ROOT = Path(__file__).parent.parent.parent
SHELF = ROOT / "tests/cases/documents"
LIBRARY = (SHELF / "library.txt").read_text("utf-8-sig")
LIGHTHOUSE = (SHELF / "phare.txt").read_text()
LAKE = (SHELF / "biwako.txt").read_text()
TIDES = (SHELF / "tidepool.md").read_text()

#: Made of no more than what a document says.
Shelf = dict[str, str]


def told(text: str) -> str:
    """Without line breaks, which a page made and not its author."""
    return " ".join(text.split())


def asked(prompt: str, tools: Any = (), output_type: Any = str, history: list[ModelMessage] | None = None) -> Any:
    async def asking() -> Any:
        async with open_model(chosen({}), environ={}) as model:
            agent: Agent[None, Any] = Agent(model, tools=tools, output_type=output_type)
            return await agent.run(prompt, message_history=history)

    return asyncio.run(asking())


def calls(run: Any) -> list[tuple[str, dict[str, Any]]]:
    parts = [part for message in run.new_messages() for part in message.parts if isinstance(part, ToolCallPart)]
    return [(part.tool_name, part.args_as_dict()) for part in parts]


# ---------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "question", "says"),
    [
        (LIBRARY, "Who founded the library, and when?", "It was founded in 1931 by Dr. Ada Quill"),
        (LIBRARY, "How many books were lost?", "lost only two hundred and twelve books"),
        (LIBRARY, "What do historians read?", "The ledgers of the night library are now read by historians"),
        (TIDES, "What happens when the network fails?", "When the network fails, the readings are lost."),
        (LIGHTHOUSE, "Qui a commencé la construction du phare ?", "M. Louis de Foix"),
        (LAKE, "琵琶湖の面積は？", "面積は約六百七十平方キロメートル"),
    ],
    ids=["who", "how many", "what", "when", "french", "japanese"],
)
def test_the_best_sentences_come_first_and_all_stand_in_the_source(text: str, question: str, says: str) -> None:
    best = select(question, [Source(text)]).sentences
    assert any(says in selected.sentence for selected in best[:2])
    assert all(selected.sentence in told(text) for selected in best)


def test_an_answer_is_made_of_sentences_of_the_prompt_s_sources() -> None:
    run = asked(f"Who founded the library?\n\n<document>{LIBRARY}</document>")
    sentences = re.split(r"(?<=[a-z][a-z][.])\s", run.output)
    assert len(sentences) > 1
    assert any("It was founded in 1931 by Dr. Ada Quill" in sentence for sentence in sentences[:2])
    assert all(sentence in told(LIBRARY) for sentence in sentences)


def test_numbered_sources_are_cited() -> None:
    prompt = (
        f'<question>Where does Tidepool run?</question><source id="4">{LIBRARY}</source><source id="7">{TIDES}</source>'
    )
    run = asked(prompt)
    assert run.output.startswith("It runs on a computer without a screen at the end of a pier")
    assert "[7]" in run.output
    assert "[4]" not in run.output


def test_what_matches_nothing_is_answered_with_a_warning() -> None:
    run = asked(f"What do zebras eat?\n<text>{LIBRARY}</text>")
    assert run.output.startswith(NO_MATCH)
    assert all(sentence in told(LIBRARY) for sentence in run.output.removeprefix(NO_MATCH).strip().split(". ")[1:-1])


def test_a_summary_keeps_the_order_of_its_source() -> None:
    text = told(LIBRARY)
    chosen_ones = select("Summarise this document.", [Source(LIBRARY)]).sentences
    places = [text.index(selected.sentence) for selected in chosen_ones]
    assert len(places) >= 3
    assert places == sorted(places)


def test_without_anything_to_select_from_it_says_so() -> None:
    assert asked("What is the meaning of life?").output == NOTHING


def test_repetitions_are_left_out() -> None:
    again = "The tide recorder writes one line for each reading that it takes."
    text = f"{again}\n\n{again.replace('line', 'single line')}\n\nThe recorder stands at the end of a pier by the sea."
    found = select("What does the recorder write, and where does it stand?", [Source(text), Source(text, "2")])
    assert len(found.sentences) == 2


def test_the_same_text_in_two_sources_is_said_once() -> None:
    pieces = answer("How many books were lost?", [Source(LIBRARY, "1"), Source(LIBRARY, "2")])
    assert "".join(pieces).count("two hundred and twelve") == 1
    assert "[2]" not in "".join(pieces)


def test_long_material_is_cut_down_before_it_is_ranked() -> None:
    noise = "\n\n".join(
        f"Item {number} of the ledger was delivered to the harbour on a grey morning." for number in range(5_000)
    )
    text = f"{noise}\n\nThe lighthouse keeper was called Amalia Stern and came from Trieste.\n\n{noise}"
    (first, *_) = select("What was the lighthouse keeper called?", [Source(text)]).sentences
    assert "Amalia Stern" in first.sentence


# ---------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize(
    ("prompt", "question", "sources"),
    [
        ("Who?", "Who?", []),
        ("Who?\n<source id='3'>A text.</source>", "Who?", [Source("A text.", "3")]),
        (
            '<question>Who?</question>\nNotes:\n- x\n<passage id="1" title="T">\nA.\n</passage>',
            "Who?",
            [Source("A.", "1")],
        ),
        ("Summarise.\n\nQuestion: Who is it?\n```\nA fenced text.\n```\n", "Who is it?", [Source("A fenced text.")]),
        ("> Quoted once,\n> and on.\n\nWho said it?", "Who said it?", [Source("Quoted once,\nand on.")]),
        ("Is 3 > 2 and <b> a tag?", "Is 3 > 2 and <b> a tag?", []),
    ],
)
def test_a_prompt_is_read(prompt: str, question: str, sources: list[Source]) -> None:
    read = read_prompt(prompt)
    assert (read.question, list(read.sources)) == (question, sources)


def test_a_long_prompt_holds_its_own_source() -> None:
    read = read_prompt(f"{LIBRARY}\n\nWho is the librarian?")
    assert read.question == "Who is the librarian?"
    assert "Tom Ferris" in read.sources[0].text
    assert "Tom Ferris" in asked(f"{LIBRARY}\n\nWho is the present librarian?").output


@pytest.mark.parametrize(
    "piece",
    ["<source>", "<source ", "```x\n", "> a\n", " ", "\n", "a-", "1+", "https://a.b/c ", "question:\n", "Aa "],
    ids=repr,
)
def test_a_hostile_prompt_takes_no_longer_than_its_length(piece: str) -> None:
    started = time.monotonic()
    asked(f"<source>{piece * (200_000 // len(piece))}", TOOLS)
    assert time.monotonic() - started < 120  # what goes back and forth takes minutes, and stops all jobs of the worker


def test_the_words_that_a_question_is_about() -> None:
    assert key_words("Please tell me: what does the report say about rate limits?") == "rate limits"
    assert key_words("Summarise the following document.") == ""


# ---------------------------------------------------------------------------------------- tools


async def search_documents(query: str) -> dict[str, Any]:
    """Finds passages."""
    shelf = {"library": LIBRARY, "tides": TIDES}
    pieces = [(name, piece) for name, text in shelf.items() for piece in passages(text)]
    best = Index([piece for _, piece in pieces]).best(query, 3)
    return {"results": [{"id": pieces[number][0], "title": "T", "passage": pieces[number][1]} for number, _ in best]}


async def read_document(id: str, start: int = 0) -> dict[str, Any]:
    """Reads one."""
    try:
        return {"id": id, "text": {"library": LIBRARY, "tides.md": TIDES, "tides": TIDES}[id][start:]}
    except KeyError:
        raise ToolFailed(f"There is no document {id}.") from None


async def fetch_page(url: str) -> str:
    """Fetches."""
    if "gone" in url:
        raise ToolFailed("404")
    return LIGHTHOUSE


def calculator(expression: str) -> str:
    """Calculates."""
    return calculate(expression)


TOOLS = (search_documents, read_document, fetch_page, calculator)


def test_documents_are_searched_then_the_best_is_read() -> None:
    run = asked("Who founded the night library?", TOOLS)
    assert calls(run) == [
        ("search_documents", {"query": "founded night library"}),
        ("read_document", {"id": "library"}),
    ]
    assert "Ada Quill" in run.output


def test_a_document_that_is_named_is_read_at_once() -> None:
    run = asked("What does `tides.md` say about a storm?", TOOLS)
    assert calls(run) == [("read_document", {"id": "tides.md"})]
    assert "storm" in run.output


def test_pages_that_are_named_are_fetched_at_once() -> None:
    run = asked("Que fit Fresnel ? https://example.org/phare, https://example.org/gone.", TOOLS)
    assert calls(run) == [
        ("fetch_page", {"url": "https://example.org/phare"}),
        ("fetch_page", {"url": "https://example.org/gone"}),
    ]
    assert "Fresnel" in run.output


def test_a_page_that_fails_is_looked_for_among_the_documents() -> None:
    run = asked("Who founded the night library? See https://example.org/gone", TOOLS)
    assert [name for name, _ in calls(run)] == ["fetch_page", "search_documents", "read_document"]
    assert "Ada Quill" in run.output


def test_nothing_found_is_said() -> None:
    run = asked("What do zebras eat?", [search_documents, read_document])
    assert calls(run) == [("search_documents", {"query": "zebras eat"})]
    assert run.output == NOTHING


def test_sources_in_the_prompt_need_no_tools() -> None:
    run = asked(f"Who founded it?\n<text>{LIBRARY}</text>", TOOLS)
    assert calls(run) == []


def test_arithmetic_is_calculated() -> None:
    run = asked("What is (17 + 3) * 21?", TOOLS)
    assert calls(run) == [("calculator", {"expression": "(17 + 3) * 21"})]
    assert run.output == "(17 + 3) * 21 = 420"


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("What is 2+2?", "2+2"),
        ("calculate 15% of 2,400", "15 / 100 * 2400"),
        ("How much is 12 times 12", "12 * 12"),
        ("what is the square root of 2?", "sqrt(2)"),
        ("7 to the power of 3 =", "7 ** 3"),
        ("What is 42?", None),
        ("What happened in 1990-1994?", None),
        ("How many books were lost in 1941?", None),
        ("What is HTTP/2?", None),
    ],
)
def test_only_plain_arithmetic_is_taken_for_it(question: str, expression: str | None) -> None:
    assert arithmetic(question) == expression


def test_a_further_question_is_about_the_same() -> None:
    first = asked("Who founded the night library?", TOOLS)
    run = asked("And when?", TOOLS, history=first.all_messages())
    assert calls(run)[0] == ("search_documents", {"query": "founded night library"})
    assert "1931" in run.output


# ---------------------------------------------------------------------------------------- streams, forms, determinism


def test_an_answer_is_streamed_sentence_by_sentence() -> None:
    async def asking() -> tuple[list[str], str]:
        async with open_model(chosen({}), environ={}) as model:
            agent = Agent(model, tools=TOOLS)
            async with agent.run_stream("How many books did the library lose?") as stream:
                pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
            return pieces, await agent_output(model)

    async def agent_output(model: Any) -> str:
        return (await Agent(model, tools=TOOLS).run("How many books did the library lose?")).output

    pieces, whole = asyncio.run(asking())
    assert len(pieces) > 1
    assert "".join(pieces) == whole


def test_tokens_are_counted_and_cost_nothing() -> None:
    counted: list[dict[str, Any]] = []
    purse: Any = SimpleNamespace(usage=lambda **used: counted.append(used))

    async def asking() -> None:
        async with open_model(chosen({}), purse, environ={}) as model:
            await Agent(model).run(f"Who founded it?\n<text>{LIBRARY}</text>")

    asyncio.run(asking())
    before, after = counted
    assert not any(before.values())
    assert after["input_tokens"] > 200
    assert after["output_tokens"] > 10
    assert after["cost_usd"] == 0


class Plan(BaseModel):
    sub_questions: list[str] = Field(min_length=1)


class Note(BaseModel):
    relevant: bool
    summary: str
    entities: list[str] = Field(max_length=4)
    kind: Literal["story", "library", "other"]
    confidence: float = Field(ge=0, le=1)
    quotes: list[Quote]
    remark: str | None = None


class Quote(BaseModel):
    source: int
    quote: str


@pytest.mark.parametrize("form", [Plan, NativeOutput(Plan), PromptedOutput(Plan)], ids=["tool", "native", "prompted"])
def test_a_question_is_taken_apart(form: Any) -> None:
    plan = asked(
        "<question>How does Tidepool keep its readings and survive storms?</question>", output_type=form
    ).output
    assert plan.sub_questions == [
        "How does Tidepool keep its readings and survive storms?",
        "How does Tidepool keep its readings?",
        "How does Tidepool survive storms?",
    ]


def test_a_form_is_filled_from_the_sources() -> None:
    note = asked(
        f'<question>Who founded the library?</question><source id="3">{LIBRARY}</source>', output_type=Note
    ).output
    assert note.relevant
    assert note.kind == "library"
    assert note.confidence == 1
    assert "Ada Quill" in note.summary
    assert "[3]" in note.summary
    assert any("Ada Quill" in entity for entity in note.entities)
    assert len(note.entities) <= 4
    assert all(quote.source == 3 and quote.quote in told(LIBRARY) for quote in note.quotes)


def test_a_source_that_says_nothing_is_not_relevant() -> None:
    note = asked(
        f"<question>What do zebras eat?</question><passage id='1'>{LIBRARY}</passage>", output_type=Note
    ).output
    assert not note.relevant
    assert note.confidence == 0


def test_simple_types_are_filled_too() -> None:
    prompt = f"<question>Name the founder of the library.</question><text>{LIBRARY}</text>"
    assert all(sentence in told(LIBRARY) for sentence in asked(prompt, output_type=list[str]).output)
    assert asked(prompt, output_type=bool).output is True
    assert asked(prompt, output_type=int).output == 0


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("What is a lease?", []),
        ("How do queues and webhooks work?", ["How do queues work?", "How do webhooks work?"]),
        (
            "How are readings kept, and what happens when the network fails?",
            ["How are readings kept?", "What happens when the network fails?"],
        ),
        ("Tidal power costs and benefits", ["Tidal power costs", "Tidal benefits"]),
        ("and", []),
        ("???", []),
        ("Wie funktionieren Gezeitenkraftwerke?", []),
    ],
)
def test_the_parts_of_a_question(question: str, parts: list[str]) -> None:
    assert sub_questions(question) == [question, *parts]


def test_names_are_found() -> None:
    assert {"Ada Quill", "Tom Ferris", "Harrow Street", "Pacific"} <= set(names(LIBRARY))


_SCRIPT = """
import asyncio, sys
from tests.unit.test_extractive import LIBRARY, LIGHTHOUSE, TIDES, TOOLS, Note, asked
print(asked("Who founded the library, and what of the tides and the storm?", TOOLS).output)
print(asked(f"Summarise.<source id='1'>{LIBRARY}</source><source id='2'>{LIGHTHOUSE}</source><text>{TIDES}</text>").output)
print(asked(f"Who founded it?<source id='1'>{LIBRARY}</source>", output_type=Note).output)
"""


def test_the_same_question_has_the_same_answer_in_every_process() -> None:
    environs = [{**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"} for seed in ("1", "4242")]
    ran = [
        subprocess.Popen([sys.executable, "-c", _SCRIPT], cwd=ROOT, env=environ, stdout=subprocess.PIPE)
        for environ in environs
    ]
    first, second = (process.communicate()[0].decode() for process in ran)
    assert first == second
    assert "Ada Quill" in first
