"""The story of one chat request: admitted, decided, asked, relayed, recorded, ended.

Invariant: the last byte leaves only after the request's records are committed; and the decision does
not change once the first byte has left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from router.access import Access, Caller
from router.asgi import (
    JSON,
    ClientGone,
    HangUp,
    Header,
    Receive,
    Scope,
    Send,
    read_body,
    refusal,
    respond,
)
from router.attempt import Attempt
from router.catalogue import Catalogue, Target
from router.conversations import Conversation, Conversations
from router.live_policy import LivePolicy
from router.metrics import Metrics, Served
from router.policy import NO_POLICY, Choice, TaskPolicy, choose, fall_back, named, refuse
from router.portfolio import Contest, Portfolio
from router.prompt import prompt_hash
from router.shadow import Shadows
from router.spans import note_answer, note_commit, note_decision, traceparent
from router.sse import Gate
from router.streams import linger, not_whole
from router.upstream import Model
from router.wire import ChatRequest, error_body, parse_chat, plain_body, upstream_body
from stepdown.errors import BadRequest, LedgerError, UpstreamError
from stepdown.ids import new_id, now
from stepdown.ledger import Body, GroupCommit, Record
from stepdown.records import HUNG_UP, Decision, Request, Role, Tier
from stepdown.students import served_name

NOT_RECORDED = "the answer was withheld because the ledger could not keep its record"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """One request on its way through.

    Attributes:
        attempts: The calls made for its answer, the last one last; those of a contest are the contest's.
        contest: The candidates, where the strong tier is a portfolio and was asked.
    """

    caller: Caller
    body: bytes
    chat: ChatRequest
    target: Target
    policy: TaskPolicy
    choice: Choice
    started: float
    id: str
    at: datetime = field(default_factory=now)
    decided: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    contest: Contest | None = None

    @property
    def answering(self) -> Attempt:
        """The call whose answer, or error, the client gets."""
        return self.attempts[-1] if self.contest is None else self.contest.live.attempt

    @property
    def calls(self) -> list[Attempt]:
        """Every call made for it."""
        return self.attempts if self.contest is None else [*self.attempts, *self.contest.attempts]

    @property
    def conversation(self) -> Conversation | None:
        """The conversation it belongs to, if it says so and lets the policy choose."""
        name = self.chat.hints.conversation
        if name is None or self.target.alias is not None:
            return None
        return Conversation(self.target.task, self.caller.tenant, name)


class Ending(NamedTuple):
    """What the client gets once the records are kept: all of a plain answer, the end of a stream."""

    status: int
    body: bytes
    headers: Iterable[Header] = (JSON,)
    begun: bool = False


class ChatEndpoint:
    """`POST /v1/chat/completions`."""

    def __init__(
        self,
        *,
        access: Access,
        catalogue: Catalogue,
        policies: LivePolicy,
        models: Mapping[str, Model],
        portfolios: Mapping[str, Portfolio],
        ledger: GroupCommit,
        shadows: Shadows,
        metrics: Metrics,
        max_body_bytes: int,
        draw: Callable[[], float],
    ) -> None:
        self._access = access
        self._catalogue = catalogue
        self._policies = policies
        self._models = models
        self._portfolios = portfolios
        self._ledger = ledger
        self._shadows = shadows
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._draw = draw
        self._conversations = Conversations()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            exchange = await self._admit(scope, receive)
        except BadRequest as error:
            self._metrics.refused(error.status, error.code)
            note_answer(error.status)
            await respond(send, error.status, refusal(error), refused_headers())
            return
        except ClientGone:
            return
        note_decision(exchange.decided - exchange.started, exchange.id, exchange.target.task, exchange.choice)
        try:
            ending = await self._produce(exchange, receive, send)
        except asyncio.CancelledError:
            await self._keep(exchange, _broken_off(exchange, "the proxy was stopped"))
            raise
        ending = await self._keep(exchange, ending)
        await self._finish(exchange, ending, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Exchange:
        """Read the request and decide who answers it."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        caller = self._access.admit(headers)
        body = await read_body(receive, headers.get(b"content-length"), self._max_body_bytes)
        chat = parse_chat(body)
        target, name = self._catalogue.resolve(chat.model, caller), new_id()
        conversation = chat.hints.conversation
        unit = name if conversation is None else f"{caller.tenant} {conversation}"
        policy = self._policies.of(target.task, unit)
        choice = self._decide(policy, caller, chat, target)
        return Exchange(caller, body, chat, target, policy, choice, started, name)

    def _decide(self, policy: TaskPolicy, caller: Caller, chat: ChatRequest, target: Target) -> Choice:
        if target.alias is not None:
            return named(policy, self._catalogue.tier(target))
        name, pinned = chat.hints.conversation, None
        if name is not None:
            pinned = self._conversations.pinned(Conversation(target.task, caller.tenant, name))
        try:
            return choose(policy, chat.prompt, draw=self._draw(), pinned=pinned)
        except Exception:  # a router that fails on a prompt must not fail the request
            log.exception("the router of task %r failed on a prompt; strong answers it", target.task)
            return refuse(policy)

    async def _produce(self, exchange: Exchange, receive: Receive, send: Send) -> Ending:
        """Everything up to the last byte."""
        self._shadow(exchange)
        try:
            async with HangUp(receive):
                attempt = await self._ask(exchange)
                return await self._relay(exchange, attempt, send)
        except ClientGone:
            return _broken_off(exchange, "the client hung up")
        except UpstreamError as error:
            return self._failed(exchange, error)

    def _shadow(self, exchange: Exchange) -> None:
        if exchange.choice.shadowed:
            started = self._start_shadow(exchange, self._model(exchange, Tier.SMALL))
            exchange.choice = exchange.choice._replace(shadowed=started)
        policy = exchange.policy
        if policy.mirror is None or exchange.target.alias is not None:
            return
        if policy.mirrors(exchange.chat.prompt, self._draw()):
            self._start_shadow(exchange, self._small(exchange).served_as(policy.mirror))

    def _start_shadow(self, exchange: Exchange, model: Model) -> bool:
        body = plain_body(exchange.chat, model.name)
        return self._shadows.start(exchange.target.task, exchange.id, model, body)

    async def _ask(self, exchange: Exchange) -> Attempt:
        """Ask the chosen model; where the policy chose small and it fails, ask strong instead."""
        try:
            attempt = await self._open(exchange, exchange.choice.chosen)
        except UpstreamError as error:
            if exchange.choice.chosen is Tier.STRONG or exchange.target.alias is not None:
                raise
            log.warning("request %s goes to strong: %s", exchange.id, error)
            exchange.choice = fall_back(exchange.choice)
            attempt = await self._open(exchange, Tier.STRONG)
        if (conversation := exchange.conversation) is not None:
            self._conversations.pin(conversation, exchange.choice.chosen)
        return attempt

    async def _open(self, exchange: Exchange, tier: Tier) -> Attempt:
        if self._portfolios and tier is Tier.STRONG and (portfolio := self._portfolio(exchange)) is not None:
            exchange.contest = portfolio.contest(exchange.chat)
            return await portfolio.run(
                exchange.contest, exchange.chat, lambda model: self._callers_key(exchange, model)
            )
        model = self._model(exchange, tier)
        attempt = Attempt(model, tier, Role.LIVE)
        exchange.attempts.append(attempt)
        try:
            await attempt.open(
                upstream_body(exchange.chat, model.name),
                stream=exchange.chat.stream,
                authorization=self._callers_key(exchange, model),
            )
        except UpstreamError:
            self._metrics.upstream_failed(model.name)
            raise
        return attempt

    def _model(self, exchange: Exchange, tier: Tier) -> Model:
        target = exchange.target
        if target.alias is not None:
            return self._models[target.alias]
        if tier is Tier.STRONG:
            return self._models[self._catalogue.alias(target.task, tier)]
        model, student = self._small(exchange), exchange.policy.student
        return model if student is None else model.served_as(served_name(student))

    def _small(self, exchange: Exchange) -> Model:
        """The small model of a request's task, as declared."""
        return self._models[self._catalogue.alias(exchange.target.task, Tier.SMALL)]

    def _portfolio(self, exchange: Exchange) -> Portfolio | None:
        """The portfolio that is the strong tier of a request that names no model itself."""
        return None if exchange.target.alias is not None else self._portfolios.get(exchange.target.task)

    def _callers_key(self, exchange: Exchange, model: Model) -> str | None:
        """The caller's own key, for the task's strong model alone."""
        strong = self._catalogue.alias(exchange.target.task, Tier.STRONG)
        return exchange.caller.authorization if model.alias == strong else None

    async def _relay(self, exchange: Exchange, attempt: Attempt, send: Send) -> Ending:
        """Pass a stream on as it arrives, but for its end; hold any other answer back."""
        assert attempt.reply is not None
        headers = [*attempt.reply.headers, *self._own_headers(exchange)]
        if not attempt.reply.streams:
            return Ending(attempt.reply.status, attempt.body, headers)
        if exchange.contest is not None and exchange.contest.live.content is not None:
            return Ending(attempt.reply.status, exchange.contest.live.content, headers)
        gate = Gate(hide_usage=not exchange.chat.wants_usage)
        await send({"type": "http.response.start", "status": attempt.reply.status, "headers": headers})
        try:
            while not gate.done and (chunk := await attempt.chunk()):
                if passed := gate.feed(chunk):
                    await send({"type": "http.response.body", "body": passed, "more_body": True})
        except UpstreamError as error:
            return Ending(attempt.reply.status, _error_event(str(error)), headers, begun=True)
        await linger(attempt, gate)
        if not attempt.complete:
            attempt.fail(not_whole(attempt))
            return Ending(attempt.reply.status, _error_event(not_whole(attempt)), headers, begun=True)
        return Ending(attempt.reply.status, gate.close(), headers, begun=True)

    def _failed(self, exchange: Exchange, error: UpstreamError) -> Ending:
        """The answer where no model answered: the upstream's own words where it had any."""
        reply = exchange.answering.reply
        passed = [h for h in reply.headers if not h[0].startswith(b"content-")] if reply else []
        body = error.body or error_body(str(error), kind="upstream_error", code=type(error).__name__)
        return Ending(error.status, body, [JSON, *passed, *self._own_headers(exchange)])

    async def _keep(self, exchange: Exchange, ending: Ending) -> Ending:
        """Commit the records; what the client gets where the ledger refuses them is an error."""
        waiting, records = time.perf_counter(), _records(exchange, ending.status)
        try:
            await self._ledger.commit(records)  # goes on even if this is cancelled
        except LedgerError as error:
            self._metrics.commit_failures.inc()
            log.error("request %s: %s: %s", exchange.id, NOT_RECORDED, error)
            return self._unkept(exchange, ending)
        waited = time.perf_counter() - waiting
        self._metrics.committed(waited)
        note_commit(waited)
        self._metrics.spent(exchange.target.task, records)
        return ending

    def _unkept(self, exchange: Exchange, ending: Ending) -> Ending:
        if ending.begun:
            return ending._replace(body=_error_event(NOT_RECORDED))
        body = error_body(NOT_RECORDED, kind="server_error", code="ledger_unavailable")
        return Ending(503, body, [JSON, *self._own_headers(exchange)])

    async def _finish(self, exchange: Exchange, ending: Ending, send: Send) -> None:
        attempt = exchange.answering
        self._metrics.served(
            Served(
                exchange.target.task,
                attempt.model.name,
                exchange.choice.mode,
                exchange.choice.reason,
                ending.status,
                latency_s=time.perf_counter() - exchange.started,
                decide_s=exchange.decided - exchange.started,
                ttft_ms=attempt.ttft_ms,
                upstream_ms=attempt.latency_ms,
            )
        )
        note_answer(ending.status, attempt.model.name, exchange.choice.reason)
        if ending.begun:
            await send({"type": "http.response.body", "body": ending.body})
        elif ending.status != HUNG_UP:
            await respond(send, ending.status, ending.body, ending.headers)

    def _own_headers(self, exchange: Exchange) -> list[Header]:
        model, choice, contest = exchange.answering.model, exchange.choice, exchange.contest
        headers = own_headers(exchange.id, model.header, choice.reason.encode(), choice.policy.encode())
        return headers if contest is None else headers + contest.headers


def own_headers(request: str, model: bytes, reason: bytes, policy: bytes) -> list[Header]:
    """The headers that every answer carries."""
    return [
        (b"x-stepdown-request-id", request.encode()),
        (b"x-stepdown-model", model),
        (b"x-stepdown-reason", reason),
        (b"x-stepdown-policy", policy),
    ]


def refused_headers() -> list[Header]:
    """The headers of an answer that no model was asked for."""
    return [JSON, *own_headers(new_id(), b"none", b"refused", NO_POLICY.encode())]


def _records(exchange: Exchange, status: int) -> list[Record]:
    """All that the ledger keeps of a request."""
    chat, target = exchange.chat, exchange.target
    body = Body.of(exchange.body)
    request = Request(
        id=exchange.id,
        at=exchange.at,
        task=target.task,
        tenant=exchange.caller.tenant,
        conversation=chat.hints.conversation,
        model_asked=chat.model,
        stream=chat.stream,
        prompt_hash=prompt_hash(chat.prompt),
        body=body.digest,
        reference=chat.hints.reference,
        check=chat.hints.check,
        slice=chat.hints.slice,
        status=status,
        latency_ms=(time.perf_counter() - exchange.started) * 1000,
        trace=traceparent(),
    )
    decision = Decision(request=exchange.id, at=exchange.at, **exchange.choice._asdict())
    calls = [record for attempt in exchange.calls for record in attempt.records(exchange.id)]
    return [request, decision, body, *calls]


def _broken_off(exchange: Exchange, why: str) -> Ending:
    for attempt in exchange.calls:
        if not attempt.over:
            attempt.fail(why)
    return Ending(HUNG_UP, b"")


def _error_event(message: str) -> bytes:
    return b"data: " + error_body(message, kind="upstream_error", code="stream_broken") + b"\n\n"
