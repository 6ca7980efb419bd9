"""A collector of OpenTelemetry spans: a real HTTP server that takes OTLP and keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import wait_until


@dataclass(frozen=True)
class Sent:
    """A span as it was sent; ids are hex."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    started_ns: int
    ended_ns: int
    failed: bool


def is_sampled(traceparent: str) -> bool:
    """Whether a trace is kept, by the first of its flags."""
    return bool(int(traceparent[-2:], 16) & 1)


@dataclass
class Collector:
    """What was sent so far."""

    url: str = ""
    spans: list[Sent] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    raw: bytes = b""

    def take(self, path: str, body: bytes) -> None:
        """Keep a request's spans."""
        self.paths.add(path)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_sent(service, span) for span in scope.spans]

    def wait_for(self, *names: str) -> None:
        """Return when there are spans with all these names."""
        wait_until(f"spans {names} were sent", lambda: set(names) <= {span.name for span in self.spans})

    def named(self, name: str, trace: str | None = None) -> list[Sent]:
        """The spans of a name, and of a trace."""
        return [span for span in self.spans if span.name == name and trace in (None, span.trace)]

    def only(self, name: str, trace: str | None = None) -> Sent:
        """The only one of these."""
        (span,) = self.named(name, trace)
        return span


def _sent(service: str, span: Any) -> Sent:
    return Sent(
        service=service,
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        attributes=_plain(span.attributes),
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        failed=span.status.code == 2,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for the length of a block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is the standard library's
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Keep the output of tests clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
