"""Counting."""
from __future__ import annotations
from collections import Counter
from typing import Any
import pytest
from common.wiring import Services
from tasks.agent import agent
from tasks.research import research
from tasks.documents import analyze_documents
from tests.functions.conftest import Run
from tests.functions.scripted import given, result, store_pages, use, PAGES
from tests.model_server import Calls, ModelServer, Says

def show(what, calls):
    n = Counter(name for name, _ in calls)
    items = sum(len(p["TransactItems"]) for name, p in calls if name == "TransactWriteItems")
    with open("/tmp/work/durable/counts", "a") as f: f.write(f"{what}: {dict(n)} transacted items {items}\n")

def test_agent(run: Run, services, monkeypatch, calls) -> None:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.script(Calls("calculate", expression="1+1").and_("calculate", expression="1+2"), Calls("calculate", expression="2+2"), Says("Four."))
        calls.clear()
        result(services, run(agent, input=given(prompt="x")))
    show("agent, 3 requests, 3 tools", calls)

def test_agent_x(run: Run, services, calls) -> None:
    store_pages(services); calls.clear()
    result(services, run(agent, input=given(prompt="How long does the worker hold a lease?")))
    show("agent extractive", calls)

def test_research_x(run: Run, services, calls) -> None:
    store_pages(services); calls.clear()
    result(services, run(research, input=given(query="How long does the worker hold a lease?")))
    show(f"research extractive {len(PAGES)} sources", calls)

def test_docs_x(run: Run, services, calls) -> None:
    store_pages(services); calls.clear()
    result(services, run(analyze_documents, input=given(document_ids=list(PAGES), questions=["How long is a lease?"])))
    show(f"analyze extractive {len(PAGES)} docs", calls)
