"""What `make demo` shows: research over this repo's own documents, every citation leading to its passage."""

from __future__ import annotations

import re

from common.wiring import Services
from dev.demo import QUESTION, markdown_files, unresolved
from tasks.kit.reading import read
from tests.aws import ROOT
from tests.handlers import Api, Worker


def test_every_citation_of_the_demo_s_report_resolves(api: Api, worker: Worker, services: Services) -> None:
    ids = []
    for path in markdown_files():
        ids.append("-".join(path.relative_to(ROOT).parts))
        headers = {"content-type": "text/markdown"}
        assert api("PUT", f"/documents/{ids[-1]}", body=path.read_bytes(), headers=headers).status == 201
    job = api.submit("research", {"query": QUESTION, "documents": ids})
    worker()
    report = api("GET", f"/jobs/{job['id']}/result").json()

    cited = {int(number) for number in re.findall(r"\[(\d+)\]", report["report"])}
    assert cited
    assert unresolved(report) == []
    for citation in report["citations"]:
        document = services.documents.get("acme", citation["source"].removeprefix("document:"))
        text = read(document.content_type, document.data).text
        assert " ".join(citation["passage"].split()) in " ".join(text.split())
    assert "lease" in report["report"]
    assert "No language model" in report["model"]["note"]


def test_a_citation_that_leads_nowhere_is_noticed() -> None:
    assert unresolved({"report": "a [1], b [3]", "citations": [{"number": 1}]}) == [3]
