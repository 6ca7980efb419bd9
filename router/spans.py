"""What the spans of a request say, by OpenTelemetry's conventions for HTTP and for generative AI.

Invariant: no text of a prompt or an answer is in a span, nor of an error, which may quote them. Where no span
is in force, all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from router.asgi import Endpoint, Receive, Scope, Send
from router.policy import Choice
from router.upstream import Model
from router.wire import events_of
from stepdown.records import Call, Role, Tier
from stepdown.tracing import Attributes, Span, Tracing, current, in_force

CARRIED = (b"traceparent", b"tracestate")


class Traced:
    """An endpoint with a span around it, in the trace of whoever asks.

    Args:
        endpoint: The endpoint.
        tracing: Makes spans.
    """

    def __init__(self, endpoint: Endpoint, tracing: Tracing) -> None:
        self._endpoint = endpoint
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        span = self._tracing.begin(f"{scope['method']} {scope['path']}", "SERVER", _came(scope["headers"]))
        span.note(
            {
                "http.request.method": scope["method"],
                "http.route": scope["path"],
                "url.path": scope["path"],
                "url.scheme": scope.get("scheme", "http"),
            }
        )
        with in_force(span):
            try:
                await self._endpoint(scope, receive, send)
            except BaseException as error:
                span.fail(type(error).__name__)
                raise
            finally:
                span.end()


def _came(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers if name in CARRIED}


def traceparent() -> str | None:
    """Where a later span joins the trace of the request, or None where there is none."""
    span = current.get()
    return None if span is None else span.traceparent


def note_decision(seconds: float, request: str, task: str, choice: Choice) -> None:
    """Make a span of a request's decision, which has just been made."""
    span = current.get()
    if span is None:
        return
    span.note({"stepdown.request.id": request, "stepdown.task": task})
    known = {
        "mode": choice.mode.value,
        "policy": choice.policy,
        "chosen": choice.chosen.value,
        "reason": choice.reason.value,
        "propensity": choice.propensity,
        "gain": choice.gain,
        "threshold": choice.threshold,
        "explored": choice.explored,
    }
    found: Attributes = {f"stepdown.{name}": v for name, v in known.items() if v is not None}
    span.step("decide", seconds, found)


def note_commit(seconds: float) -> None:
    """Make a span of the commit of a request's records, which has just ended."""
    span = current.get()
    if span is not None:
        span.step("commit", seconds, {})


def note_answer(status: int, model: str | None = None, reason: str | None = None) -> None:
    """Note how a request was answered."""
    span = current.get()
    if span is None:
        return
    span.note({"http.response.status_code": status})
    if model is not None and reason is not None:
        span.note({"stepdown.model": model, "stepdown.reason": reason})
    if status >= 500:
        span.fail(str(status))


def begin_call(model: Model, tier: Tier, role: Role, at: datetime) -> Span | None:
    """The span of a call of a model; None where the request has none."""
    parent = current.get()
    if parent is None:
        return None
    span = parent.child(f"chat {model.name}", "CLIENT", at)
    span.note(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",  # whose API it speaks; an upstream that knows better says so
            "gen_ai.request.model": model.name,
            "stepdown.tier": tier.value,
            "stepdown.role": role.value,
        }
    )
    return span


def end_call(span: Span, call: Call, body: bytes, error: str | None) -> None:
    """Note what came of a call, and end its span.

    Args:
        span: Of the call.
        call: Its record.
        body: The answer, as the upstream sent it.
        error: Kind of the error, where there was one.
    """
    if not span.recording:
        return
    known: dict[str, Any] = {
        "gen_ai.response.model": _response_model(body),
        "gen_ai.response.finish_reasons": call.finish_reason and [call.finish_reason],
        "gen_ai.response.time_to_first_chunk": None if call.ttft_ms is None else call.ttft_ms / 1000,
        "gen_ai.usage.input_tokens": call.prompt_tokens,
        "gen_ai.usage.output_tokens": call.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
        "http.response.status_code": call.status or None,
        "stepdown.role": call.role.value,
        "stepdown.call.id": call.id,
        "stepdown.cost_usd_micros": call.cost_usd_micros,
        "stepdown.usage_estimated": call.usage_estimated,
    }
    span.note({name: value for name, value in known.items() if value is not None})
    if error is not None or call.status >= 400:
        span.fail(str(call.status) if call.status >= 400 else error or "_OTHER")
    span.end(call.at + timedelta(milliseconds=call.latency_ms))


class _Named(msgspec.Struct):
    model: str | None = None


def _response_model(body: bytes) -> str | None:
    """The name that the upstream gave the model that answered, or None where it gave none."""
    try:
        whole = body if body.lstrip()[:1] == b"{" else events_of(body)[0]
        return msgspec.json.decode(whole, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        return None
