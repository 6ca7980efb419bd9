"""OpenTelemetry traces, where the settings ask for them: how spans are made, sent, and find each other.

Invariant: nothing of OpenTelemetry is imported before a trace is asked for, and whoever waits for an answer
never waits for the collector. Knows nothing of what the spans are about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from stepdown.errors import SettingsError
from stepdown.ids import now
from stepdown.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

EXPORT_EVERY_MS = 1000
EXPORT_TIMEOUT_S = 5
PATH = "/v1/traces"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Kind = Literal["SERVER", "CLIENT", "INTERNAL"]
Attributes = Mapping[str, str | bool | int | float | Sequence[str]]


class Span:
    """A span under way; one that was not drawn keeps nothing, and hands its trace on all the same."""

    def __init__(self, tracing: Tracing, span: OtelSpan) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def recording(self) -> bool:
        """Whether it keeps what is noted."""
        return self._span.is_recording()

    @property
    def headers(self) -> dict[str, str]:
        """What carries the trace on: `traceparent`, and `tracestate` where the caller sent one."""
        return self._tracing.headers_of(self._span)

    @property
    def traceparent(self) -> str | None:
        """What a later span of the same trace needs; None where none is kept of it."""
        return self.headers.get("traceparent") if self.recording else None

    def child(self, name: str, kind: Kind = "INTERNAL", at: datetime | None = None) -> Span:
        """A span below this one, begun now or at a time."""
        return self._tracing.below(self._span, name, kind, at)

    def step(self, name: str, seconds: float, attributes: Attributes) -> None:
        """A whole span below this one, for what took some seconds and has just ended."""
        ended = now()
        child = self.child(name, at=ended - timedelta(seconds=seconds))
        child.note(attributes)
        child.end(ended)

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        """Say that it failed, by the kind of error: its text may hold what a caller wrote."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, at: datetime | None = None) -> None:
        """End it, once; ending it again changes nothing."""
        if self.recording:
            self._span.end(None if at is None else _nanoseconds(at))


current: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span in force: of the request, or while an upstream is asked that of the call."""


@contextmanager
def in_force(span: Span) -> Iterator[None]:
    """Have a span in force for the length of a block."""
    token = current.set(span)
    try:
        yield
    finally:
        current.reset(token)


class Tracing:
    """Makes spans and sends them to the collector, from a thread of its own; `open_tracing` makes one."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("stepdown")
        self._w3c = TraceContextTextMapPropagator()

    def begin(
        self,
        name: str,
        kind: Kind,
        came: Mapping[str, str],
        *,
        at: datetime | None = None,
        linked: bool = False,
    ) -> Span:
        """Begin a span in the trace that a caller's headers name, or in a new one.

        Args:
            name: Of the span.
            kind: OpenTelemetry's.
            came: `traceparent` and `tracestate`, as far as they came.
            at: When it began; None is now.
            linked: Whether the span is linked with its parent too, which ended long before it.
        """
        from opentelemetry.trace import Link, get_current_span

        context = self._w3c.extract(came)
        links = [Link(get_current_span(context).get_span_context())] if linked else []
        return Span(self, self._start(name, kind, context, at, links))

    def below(self, parent: OtelSpan, name: str, kind: Kind, at: datetime | None) -> Span:
        """Begin a span below another of this process."""
        from opentelemetry.trace import set_span_in_context

        return Span(self, self._start(name, kind, set_span_in_context(parent), at, []))

    def _start(self, name: str, kind: Kind, context: Any, at: datetime | None, links: list[Any]) -> OtelSpan:
        from opentelemetry.trace import SpanKind

        began = None if at is None else _nanoseconds(at)
        return self._tracer.start_span(
            name, context=context, kind=SpanKind[kind], links=links, start_time=began
        )

    def headers_of(self, span: OtelSpan) -> dict[str, str]:
        """The headers that carry a span's trace on."""
        from opentelemetry.trace import set_span_in_context

        carried: dict[str, str] = {}
        self._w3c.inject(carried, set_span_in_context(span))
        return carried

    def close(self) -> None:
        """Send what has not been sent, and stop."""
        self._provider.shutdown()


def open_tracing(settings: TracingSettings) -> Tracing | None:
    """What makes spans; None where the settings ask for none.

    Raises:
        SettingsError: They do, and OpenTelemetry is not installed.
    """
    return None if settings.endpoint is None else Tracing(_provider(settings, settings.endpoint))


def _provider(settings: TracingSettings, endpoint: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise SettingsError(
            f"tracing.endpoint = {endpoint!r} asks for traces, and OpenTelemetry is not installed "
            f"({error}): install stepdown[otel], or take tracing.endpoint out of the settings"
        ) from error
    url = endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample)),
        resource=Resource.create({"service.name": settings.service_name}),
    )
    exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS))
    return provider


def _nanoseconds(at: datetime) -> int:
    """OpenTelemetry's time: nanoseconds since 1970."""
    return (at - EPOCH) // MICROSECOND * 1000
