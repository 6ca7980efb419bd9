"""One call of one model as it happens: measured, priced and turned into records.

Invariant: whatever becomes of an attempt, its records say so; and no key is in them.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import msgspec

from router.spans import begin_call, end_call
from router.upstream import Model, Reply
from router.wire import Ending, read_answer, read_ending, read_prompt
from stepdown.errors import UpstreamError
from stepdown.ids import new_id, now
from stepdown.ledger import Body
from stepdown.records import Call, Role, Tier
from stepdown.tracing import in_force

REDACTED = b"[key]"
CHARACTERS_PER_TOKEN = 4
_error_message = re.compile(rb'"(?:message|detail)"\s*:\s*("(?:[^"\\]|\\.)*")')


class Usage(NamedTuple):
    """Tokens of a call, as counted by the upstream or estimated."""

    prompt: int | None
    completion: int | None
    cached: int | None
    estimated: bool


class Attempt:
    """A call in progress.

    Attributes:
        reply: The upstream's answer, once its head has come.
        role: Why it is made; a candidate that is picked becomes live.
    """

    def __init__(self, model: Model, tier: Tier, role: Role) -> None:
        self.reply: Reply | None = None
        self.model = model
        self.role = role
        self._tier = tier
        self._id = new_id()
        self._at = now()
        self._started = time.perf_counter()
        self._ended: float | None = None
        self._first: float | None = None
        self._parts: list[bytes] = []
        self._unsent = b""
        self._asked = b""
        self._whole = False
        self._error: str | None = None
        self._error_kind: str | None = None
        self._ending: Ending | None = None
        self._span = begin_call(model, tier, role, self._at)

    async def open(
        self,
        body: bytes,
        *,
        stream: bool,
        authorization: str | None = None,
        limit_bytes: int | None = None,
    ) -> None:
        """Ask, and wait for the first byte of a stream or for the whole of any other answer.

        Args:
            body: The request.
            stream: Whether it asks for a stream.
            authorization: The caller's own, where it may go on to this model.
            limit_bytes: Largest whole answer accepted; None takes any.

        Raises:
            UpstreamError: There was none, its status is not a success, or it is too large.
        """
        self._asked = body
        try:
            self.reply = reply = await self._ask(body, stream, authorization)
            if reply.streams and reply.status < 300:
                self._unsent = await self.chunk()
                if not self._unsent:
                    raise UpstreamError(f"model {self.model.alias!r} ended its stream before the first event")
            else:
                self._first = time.perf_counter()
                self._parts = [await (reply.read() if limit_bytes is None else _read(reply, limit_bytes))]
                self._whole = True
                self._check(reply, authorization)
        except UpstreamError as error:
            self.fail(str(error), type(error).__name__)
            raise

    async def _ask(self, body: bytes, stream: bool, authorization: str | None) -> Reply:
        upstream = self.model.upstream
        if self._span is None:
            return await upstream.ask(body, stream=stream, authorization=authorization)
        with in_force(self._span):
            return await upstream.ask(body, stream=stream, authorization=authorization)

    def _check(self, reply: Reply, authorization: str | None) -> None:
        body = self._parts[0]
        if reply.status >= 300:
            self._whole = False
            self._parts = [body := self._redacted(body, authorization)]
            raise _refusal(self.model.alias, reply.status, body)
        if body.lstrip()[:1] != b"{":
            self._whole = False
            raise UpstreamError(f"model {self.model.alias!r} answered something else than JSON")

    def _redacted(self, body: bytes, authorization: str | None) -> bytes:
        callers = (authorization or "").partition(" ")[2].strip().encode("latin-1", "ignore")
        for secret in (self.model.key, callers):
            if secret:
                body = body.replace(secret, REDACTED)
        return body

    async def chunk(self) -> bytes:
        """The next bytes of a stream; empty at its end.

        Raises:
            UpstreamError: The stream was cut off.
        """
        if self._unsent:
            first, self._unsent = self._unsent, b""
            return first
        assert self.reply is not None
        try:
            chunk = await self.reply.next_chunk()
        except UpstreamError as error:
            self.fail(str(error), type(error).__name__)
            raise
        if not chunk:
            self._whole = True
        elif self._first is None:
            self._first = time.perf_counter()
        self._parts.append(chunk)
        return chunk

    @property
    def over(self) -> bool:
        """Whether nothing more of it is waited for."""
        return self._ended is not None

    @property
    def body(self) -> bytes:
        """The bytes received so far."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    @property
    def ending(self) -> Ending:
        """What the bytes received so far say."""
        if self._ending is None:
            self._ending = read_ending(self.body)
        return self._ending

    @property
    def complete(self) -> bool:
        """Whether the whole answer came: to `[DONE]`, or to a clean end after a finish reason."""
        if self.reply is None or self.reply.status >= 300:
            return False
        ended_well = self._whole and self._error is None and self.ending.finish_reason is not None
        return self.ending.complete or ended_well

    def fail(self, why: str, kind: str = "incomplete") -> None:
        """Note why there is no more to come, and of what kind the reason is; the first one stays."""
        if self._error is None:
            self._error, self._error_kind = why, kind
        self.end()

    def end(self) -> None:
        """Stop the clock and let the connection go."""
        if self._ended is None:
            self._ended = time.perf_counter()
            if self.reply is not None:
                self.reply.close()

    def records(self, request: str) -> list[Call | Body]:
        """The call and its body, for the ledger."""
        self.end()
        ending, price = self.ending, self.model.price
        body = Body.of(self.body) if self.body else None
        usage = self._usage()
        call = Call(
            id=self._id,
            request=request,
            at=self._at,
            role=self.role,
            tier=self._tier,
            model=self.model.name,
            status=0 if self.reply is None else self.reply.status,
            complete=self.complete,
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            cached_tokens=usage.cached,
            usage_estimated=usage.estimated,
            cost_usd_micros=None
            if price is None
            else price.cost_usd_micros(usage.prompt, usage.completion, usage.cached),
            finish_reason=ending.finish_reason and ending.finish_reason[:64],
            error=self._error,
            body=None if body is None else body.digest,
        )
        if self._span is not None:
            end_call(self._span, call, self.body, self._error_kind)
        return [call] if body is None else [call, body]

    def _usage(self) -> Usage:
        """What the upstream counted, or an estimate where a stream broke off before it did."""
        ending = self.ending
        if ending.completion_tokens is None and self.reply is not None and self.reply.streams and self.body:
            asked, produced = read_prompt(self._asked).text, read_answer(self.body).text
            return Usage(_estimated_tokens(asked), _estimated_tokens(produced), None, estimated=True)
        return Usage(ending.prompt_tokens, ending.completion_tokens, ending.cached_tokens, estimated=False)

    @property
    def ttft_ms(self) -> float | None:
        """Time to the first byte of a stream, or to the head of any other answer."""
        return self._milliseconds(self._first)

    @property
    def latency_ms(self) -> float:
        """Time to its end; 0 where it has none yet."""
        return self._milliseconds(self._ended) or 0.0

    def _milliseconds(self, moment: float | None) -> float | None:
        return None if moment is None else (moment - self._started) * 1000


async def _read(reply: Reply, limit_bytes: int) -> bytes:
    """The whole of an answer that is not too large to be held beside others."""
    parts, size = [], 0
    while part := await reply.next_chunk():
        parts.append(part)
        size += len(part)
        if size > limit_bytes:
            raise UpstreamError(f"the answer has more than {limit_bytes:,} bytes, too many for a candidate")
    return b"".join(parts)


def _estimated_tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _refusal(alias: str, status: int, body: bytes) -> UpstreamError:
    """The error for an upstream's own error, with its words in it."""
    found = _error_message.search(body)
    words = (
        msgspec.json.decode(found.group(1), strict=False) if found else body[:300].decode("utf-8", "replace")
    )
    message = f"model {alias!r} answered {status}: {words or 'nothing'}"
    return UpstreamError(
        message, status=status if status >= 400 else 502, body=body if _is_openai_error(body) else None
    )


class _ErrorBody(msgspec.Struct):
    error: dict[str, msgspec.Raw]


def _is_openai_error(body: bytes) -> bool:
    try:
        return "message" in msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
