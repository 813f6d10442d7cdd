"""One trace from the request to the model's answer; and where nothing is traced, not a byte and not an import of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from common import spans
from common.jobs import Status
from common.tasks import Context, Permanent
from common.tracing import of_request
from common.wiring import Services
from tests.aws import ROOT, Clock, client
from tests.functions.conftest import Run
from tests.functions.scripted import use
from tests.handlers import Api, Worker
from tests.model_server import Calls, Fails, ModelServer, Says

CANARY = "canary-51c0de"
LAMBDA = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled="
LAMBDAS_TRACE = "5759e988bd862e3fe1be46a994272793"


def caller(letter: str) -> str:
    return f"00-{letter * 32}-{letter * 16}-01"


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    spans.provider.cache_clear()
    yield spans.provider()
    spans.provider.cache_clear()


@pytest.fixture
def seen(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What is traced; X-Ray's rules have taken every invocation."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{LAMBDA}1")
    return exporter


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def way(exporter: InMemorySpanExporter, last: str) -> list[str]:
    """The names from the outermost span to the first with this one."""
    found = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in found}
    span = next((span for span in found if span.name == last), None)
    names = []
    while span is not None:
        names.append(span.name)
        span = by_id.get(span.parent.span_id) if span.parent else None
    return names[::-1]


def test_one_trace_goes_from_the_request_through_the_queue_to_the_model(
    api: Api, worker: Worker, seen: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.script(Calls("calculate", expression="6 * 7"), Says(f"42 {CANARY}"))
        job = api.submit("agent", {"prompt": CANARY})
        worker()
    found = seen.get_finished_spans()
    assert {trace_of(span) for span in found} == {LAMBDAS_TRACE}
    assert way(seen, "chat test") == ["POST", "attempt agent", "step model", "chat test"]
    assert way(seen, "step tool:calculate") == ["POST", "attempt agent", "step tool:calculate"]
    by_name = {span.name: dict(span.attributes or {}) for span in found}
    assert by_name["POST"] == {"url.path": "/jobs", "http.response.status_code": 202}
    assert by_name["attempt agent"] == {"longrun.job_id": job["id"], "longrun.owner": "acme", "longrun.attempt": 1}
    assert by_name["chat test"]["gen_ai.usage.output_tokens"]
    assert CANARY not in "".join(span.to_json() for span in found)


def test_what_a_provider_says_of_an_error_is_in_no_span(
    api: Api, worker: Worker, seen: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.script(Fails(400, CANARY))
        job = api.submit("agent", {"prompt": CANARY})
        worker()
    assert CANARY in api.job(job["id"])["error"]["message"]
    failed = [span for span in seen.get_finished_spans() if not span.status.is_ok]
    assert {"step model", "chat test"} <= {span.name for span in failed}
    assert CANARY not in "".join(span.to_json() for span in seen.get_finished_spans())


def test_a_caller_s_trace_goes_on(api: Api, worker: Worker, seen: InMemorySpanExporter) -> None:
    """Two of them, side by side in one batch of the worker's."""
    for letter in "ab":
        answer = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers={"traceparent": caller(letter)})
        assert answer.status == 202
    worker()
    found = [(span.name, trace_of(span)) for span in seen.get_finished_spans()]
    assert sorted(found) == sorted((name, letter * 32) for letter in "ab" for name in ("POST", "attempt echo"))


@pytest.mark.parametrize("lambdas", [f"{LAMBDA}0", LAMBDA.removesuffix(";Sampled="), "", None])
def test_of_what_x_ray_does_not_record_there_is_no_trace_whatever_the_caller_wants(
    api: Api,
    worker: Worker,
    services: Services,
    clock: Clock,
    seen: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    lambdas: str | None,
) -> None:
    if lambdas is None:
        monkeypatch.delenv("_X_AMZN_TRACE_ID")
    else:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", lambdas)
    monkeypatch.delitem(sys.modules, "common.spans")
    job = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers={"traceparent": caller("a")}).json()
    (item,) = [item for item in items() if item["pk"]["S"] == f"job#{job['id']}"]
    assert "trace" not in item
    worker()
    assert api.job(job["id"])["status"] == "completed"
    assert not seen.get_finished_spans()
    assert "common.spans" not in sys.modules


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        caller("0"),
        caller("a").upper(),
        caller("a") + "-more",
        f"ff{caller('a')[2:]}",
        f" {caller('a')}",
    ],
)
def test_what_is_no_traceparent_is_passed_over(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{LAMBDA}1")
    assert of_request(header) == f"00-{LAMBDAS_TRACE}-53995c3f42cd8ad8-01"


def test_whoever_sends_the_message_the_trace_goes_on(
    api: Api, worker: Worker, clock: Clock, sweep: Callable[[], int], seen: InMemorySpanExporter
) -> None:
    api.submit("echo")
    worker.receive()  # by a worker that died of it
    clock.advance(70)
    assert sweep() == 1
    worker()
    assert way(seen, "attempt echo") == ["POST", "attempt echo"]


class Nothing(BaseModel):
    pass


def test_steps_and_children_are_in_the_trace_and_errors_are_named_without_their_words(
    run: Run, services: Services, clock: Clock, seen: InMemorySpanExporter
) -> None:
    def part(ctx: Context, input: Nothing) -> None: ...

    def failing(ctx: Context, input: Nothing) -> None:
        ctx.step("plain", str, CANARY, key=CANARY)
        ctx.gather(part, [Nothing()])

    async def breaking(ctx: Context, input: Nothing) -> None:
        await ctx.step("broken", fail, CANARY)

    def fail(text: str) -> None:
        raise Permanent(text)

    run(part)
    assert not seen.get_finished_spans(), "its request was not traced"
    parent = run(failing, trace=caller("a"))
    broken = run(breaking, trace=caller("b"))
    assert (parent.status, broken.status) == (Status.WAITING, Status.FAILED)
    assert [item["trace"]["S"] for item in items() if item.get("parent") == {"S": parent.id}] == [caller("a")]
    assert way(seen, "step plain") == ["attempt failing", "step plain"]
    (span,) = [span for span in seen.get_finished_spans() if span.name == "step broken"]
    assert (span.status.is_ok, span.status.description, span.events) == (False, "Permanent", ())
    assert CANARY not in "".join(span.to_json() for span in seen.get_finished_spans())


def test_spans_reach_x_ray_s_daemon_as_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")
        spans.provider.cache_clear()
        with spans.begun(caller("a"), "POST", "SERVER", {}):
            pass
        head, _, body = daemon.recv(65_536).partition(b"\nT1S")
        spans.provider().shutdown()
        spans.provider.cache_clear()
    assert head == b'{"format":"json","version":1}'
    (resource,) = ExportTraceServiceRequest.FromString(b64decode(body)).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("POST", "a" * 32, "a" * 16)


def test_a_span_that_no_datagram_can_hold_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:9")
    spans.provider.cache_clear()
    with spans.begun(caller("a"), "POST", "SERVER", {"much": "x" * 100_000}) as (made, _):
        assert made.startswith(f"00-{'a' * 32}-")
    spans.provider.cache_clear()


@pytest.mark.parametrize("function", sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py")))
def test_no_function_loads_opentelemetry_before_something_is_traced(function: str) -> None:
    code = f"import functions.{function}.app, sys; print(*sys.modules)"
    environ = {
        "TABLE_NAME": "t",
        "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/q",
        "BUCKET_NAME": "b",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PATH": os.environ["PATH"],
    }
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    loaded = {name for name in ran.stdout.split() if name.startswith(("opentelemetry", "google.protobuf"))}
    if function == "api":  # FastAPI itself loads OpenTelemetry's API, which does nothing without the rest
        loaded = {name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google"))}
    assert not loaded


def items() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client("dynamodb").scan(TableName="longrun")["Items"]
    return [item for item in found if item["sk"]["S"] == "job"]
