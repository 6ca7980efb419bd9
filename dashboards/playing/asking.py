"""Asks one model, or whom the policy chooses, and tells bit by bit what comes.

Invariant: whatever goes wrong is told as an event, so that one that fails harms no other; whoever stops
listening stops the model; and every answer that was paid for is kept, with its cost, once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import anyio
import msgspec

from dashboards.playing.advice import Advice
from dashboards.playing.columns import POLICY, Column, Offer
from dashboards.playing.question import Question
from dashboards.playing.stream import Reader
from dashboards.texts import answer_text
from evals.answering import answer_key, kept_answer
from evals.report.offline import PLAYGROUND
from router.attempt import Attempt
from router.upstream import open_models
from router.upstream.factory import read_keys
from router.upstream.openai_shaped import open_session
from router.wire import read_answer
from stepdown.errors import LedgerError, StepdownError, UpstreamError
from stepdown.ids import digest, new_id
from stepdown.ledger import Body, Ledger
from stepdown.prices import MICROS_PER_USD
from stepdown.records import Call, Role, Tier
from stepdown.settings import Settings

UNAUTHORIZED = (401, 403)
MOST_BYTES, LONGEST_S = 20_000_000, 900.0  # of a stream; without scripts nobody else could stop it

log = logging.getLogger(__name__)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened in a column.

    Attributes:
        kind: `score` (what the router thinks), `asked` (which model is), `text` (more of the answer), `said`
            (something to know), `done` (with `facts`) or `error`.
        facts: Names and values, as text.
    """

    kind: Literal["score", "asked", "text", "said", "done", "error"]
    text: str = ""
    facts: list[tuple[str, str]] = []


@dataclass(frozen=True, slots=True)
class Player:
    """Asks for one task.

    Attributes:
        environ: Where the keys of models are.
        task: On whose bill the answers are.
    """

    ledger: Ledger
    offer: Offer
    environ: Mapping[str, str]
    task: str

    async def play(self, name: str, question: Question, advice: Advice) -> AsyncGenerator[Event, None]:
        """Ask one column.

        Args:
            name: Of the column.
            question: What to ask.
            advice: What the policy would do with it.
        """
        try:
            column = self.offer.column(name)
            yield Event(kind="score", text=advice.score_of(column))
            if column.name == POLICY:
                yield Event(kind="said", text=advice.words.sentence)
            targets = self._targets(column, advice)
            for number, (alias, tier) in enumerate(targets):
                yield Event(kind="asked", text=f"{alias} ({self.settings.models[alias].model})")
                async with self._attempt(alias, tier, question) as attempt:
                    async for event in _told(
                        attempt, question, self.settings, is_last=number == len(targets) - 1
                    ):
                        yield event
                    if _has_begun(attempt):
                        return
        except StepdownError as error:
            yield Event(kind="error", text=str(error))

    @property
    def settings(self) -> Settings:
        """All settings, with the students as models of their own."""
        return self.offer.settings

    def _targets(self, column: Column, advice: Advice) -> Sequence[tuple[str, Tier]]:
        """Whom to ask: of the policy the model that it chooses, and strong should small fail at once."""
        if column.alias is not None:
            return [(column.alias, column.tier or Tier.STRONG)]
        strong = (self.settings.tasks[self.task].strong, Tier.STRONG)
        if advice.choice.chosen is Tier.SMALL and self.offer.small is not None:
            return [(self.offer.small, Tier.SMALL), strong]
        return [strong]

    @asynccontextmanager
    async def _attempt(self, alias: str, tier: Tier, question: Question) -> AsyncIterator[Attempt]:
        """A call of a model that is ended, and kept where it was paid for, whatever becomes of it."""
        only = msgspec.structs.replace(self.settings, models={alias: self.settings.models[alias]})
        keys = read_keys(only, self.environ)
        async with open_session(self.settings.proxy.connect_timeout_s) as session:
            attempt = Attempt(open_models(only, keys, session)[alias], tier, Role.JUDGE)
            try:
                yield attempt
            finally:
                attempt.end()
                # Who stops listening stops the model, not the bookkeeping.
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(self._keep, alias, attempt, question)

    def _keep(self, alias: str, attempt: Attempt, question: Question) -> None:
        if not _has_begun(attempt):
            return
        asked = answer_key(self.settings.models[alias], question.fields, 0)
        key = digest(f"{asked} {new_id()}".encode())  # each is paid for, and none is an answer to take again
        records = attempt.records(key)
        call = next(record for record in records if isinstance(record, Call))
        bodies = [record for record in records if isinstance(record, Body)]
        try:
            self.ledger.append([*bodies, kept_answer(key, call, task=self.task, purpose=PLAYGROUND)])
        except LedgerError as error:
            log.error("an answer on the playground is not on the bill: %s", error)


def _has_begun(attempt: Attempt) -> bool:
    """Whether something of an answer came, which may have to be paid for."""
    return attempt.reply is not None and attempt.reply.status < 300 and bool(attempt.body)


async def _told(
    attempt: Attempt, question: Question, settings: Settings, *, is_last: bool
) -> AsyncIterator[Event]:
    """What comes of a call; where it fails and another may be asked, that is said."""
    fields = {**question.fields, "model": attempt.model.name, "stream": True}
    body = msgspec.json.encode({**fields, "stream_options": {"include_usage": True}})
    try:
        await attempt.open(body, stream=True)
        async for text in _texts(attempt):
            yield Event(kind="text", text=text)
        attempt.end()
        called = answer_text(msgspec.structs.replace(read_answer(attempt.body), text="", refusal=""))
        if called:
            yield Event(kind="text", text=f"\n{called}")
        if not attempt.complete:
            yield Event(kind="error", text="the answer broke off before its end")
        yield Event(kind="done", facts=facts_of(attempt))
    except UpstreamError as error:
        attempt.fail(str(error))
        if not is_last and not _has_begun(attempt):
            yield Event(kind="said", text=f"{error}. Strong is asked instead, as in traffic.")
            return
        yield Event(kind="error", text=str(error) + _hint(attempt, settings))
        if _has_begun(attempt):
            yield Event(kind="done", facts=facts_of(attempt))


async def _texts(attempt: Attempt) -> AsyncIterator[str]:
    """The text of an answer as it comes."""
    assert attempt.reply is not None, "the attempt is open"
    if not attempt.reply.streams:
        answer = read_answer(attempt.body)
        yield answer.text + answer.refusal
        return
    reader, read, began = Reader(), 0, time.monotonic()
    while chunk := await attempt.chunk():
        if text := reader.feed(chunk):
            yield text
        read += len(chunk)
        if read > MOST_BYTES or time.monotonic() - began > LONGEST_S:
            raise UpstreamError(f"model {attempt.model.alias!r} found no end and was stopped: {read:,} bytes")
    if reader.error:
        raise UpstreamError(f"model {attempt.model.alias!r} broke off: {reader.error}")


def _hint(attempt: Attempt, settings: Settings) -> str:
    """What to do about a model that wants a key."""
    status = attempt.reply.status if attempt.reply is not None else 0
    if status in UNAUTHORIZED and settings.models[attempt.model.alias].api_key_env is None:
        return (
            f". The dashboard has no key for it: in traffic it gets the caller's own. Set models."
            f"{attempt.model.alias}.api_key_env to ask it here"
        )
    return ""


def facts_of(attempt: Attempt) -> list[tuple[str, str]]:
    """What is known of a call that is over, as text."""
    call = next(record for record in attempt.records("-") if isinstance(record, Call))
    about = "about " if call.usage_estimated else ""
    cost = call.cost_usd_micros
    return [
        ("First token", _ms(call.ttft_ms)),
        ("In all", _ms(call.latency_ms)),
        ("Tokens in", "unknown" if call.prompt_tokens is None else f"{about}{call.prompt_tokens:,}"),
        ("Tokens out", "unknown" if call.completion_tokens is None else f"{about}{call.completion_tokens:,}"),
        ("Cost", "unknown: no price is set" if cost is None else f"{about}${cost / MICROS_PER_USD:.6f}"),
        ("Ended by", call.finish_reason or "nothing: it is not whole"),
    ]


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f} ms"
