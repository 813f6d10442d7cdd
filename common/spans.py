"""Spans as OpenTelemetry makes them, for the X-Ray daemon that Lambda runs beside a function. `common.tracing` imports this
when something is traced.

No global provider is set: what a library would trace by itself might hold inputs, or secrets (a ticket in a query).
"""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.telemetry import SERVICE

_W3C = TraceContextTextMapPropagator()


class Daemon(SpanExporter):
    """OTLP in datagrams to X-Ray's daemon, as AWS's own distribution of OpenTelemetry sends it from Lambda.

    They cost no wait, and nothing is left to be sent when the invocation ends and the process is frozen.
    """

    #: The daemon's header, and the mark of spans in OTLP that are recorded.
    HEAD = b'{"format":"json","version":1}\nT1S'

    def __init__(self, address: str) -> None:
        """`address` is host:port."""
        host, _, port = address.rpartition(":")
        self._address = host, int(port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            self._socket.sendto(self.HEAD + b64encode(encode_spans(spans).SerializeToString()), self._address)
        except OSError:  # larger than a datagram, or nobody listens: a trace is not worth a job's failure
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._socket.close()


@cache
def provider() -> TracerProvider:
    made = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    if address := os.environ.get("AWS_XRAY_DAEMON_ADDRESS"):
        made.add_span_processor(SimpleSpanProcessor(Daemon(address)))
    return made


@contextmanager
def begun(parent: str, name: str, kind: str, attributes: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A span below `parent`: its `traceparent`, and a dict for further attributes."""
    more: dict[str, Any] = {}
    with (
        provider()
        .get_tracer("longrun")
        .start_as_current_span(
            name,
            _W3C.extract({"traceparent": parent}),
            SpanKind[kind],
            attributes,
            # An error's message may quote an input.
            record_exception=False,
            set_status_on_exception=False,
        ) as made
    ):
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        try:
            yield carrier["traceparent"], more
        except Exception as error:
            made.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            made.set_attributes(more)
