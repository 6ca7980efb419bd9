"""A strong tier of several answers: asked for at once, one is picked, and all are on record.

Invariant: whatever becomes of a contest, each of its calls (candidates, and those of a judge) has an attempt
that its request's records are made of; nothing reaches the client before the pick. How candidates are told
apart is `router.picking`'s and its stages' to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from router.attempt import Attempt
from router.candidates import Way, candidate_body, may_be_picked, ways_of
from router.metrics import Metrics
from router.picking import ONLY, Candidate, Question, Stage, StagesOf, pick
from router.sse import Gate
from router.streams import read_stream
from router.upstream import Model
from router.wire import Answer, ChatRequest, read_answer
from stepdown.errors import UpstreamError
from stepdown.records import Role, Tier
from stepdown.settings import PortfolioSettings, TaskSettings

HELD_BYTES = 8_000_000

KeyOf = Callable[[Model], str | None]


@dataclass(slots=True)
class Entry:
    """One candidate of a contest.

    Attributes:
        content: The whole answer as the client may see it; None until it is there.
        error: Why it will not be.
    """

    attempt: Attempt
    way: Way
    content: bytes | None = None
    error: UpstreamError | None = None


@dataclass(slots=True)
class Contest:
    """The candidates for one request, and what became of them.

    Attributes:
        live: The candidate whose answer the client gets; before the pick, and where all failed, the first.
        judging: The calls of judges.
        by: What picked, or None where nothing did yet.
    """

    entries: list[Entry]
    live: Entry
    judging: list[Attempt] = field(default_factory=list)
    by: str | None = None

    @property
    def attempts(self) -> Iterator[Attempt]:
        """Every call, those of judges last."""
        yield from (entry.attempt for entry in self.entries)
        yield from self.judging

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the client is told of it."""
        count = (b"x-stepdown-candidates", b"%d" % len(self.entries))
        return [count] if self.by is None else [count, (b"x-stepdown-picked-by", self.by.encode())]

    def settle(self, entry: Entry, by: str | None) -> None:
        """Let the client have an entry: its answer, or where all failed its error."""
        self.live, self.by = entry, by
        entry.attempt.role = Role.LIVE


class Portfolio:
    """One task's strong tier of several answers.

    Args:
        task: The task's name.
        settings: Its portfolio.
        models: All models by alias.
        stages: What picks, in order.
        metrics: Where candidates and picks are counted.
    """

    def __init__(
        self,
        task: str,
        settings: PortfolioSettings,
        models: Mapping[str, Model],
        stages: Sequence[Stage],
        metrics: Metrics,
    ) -> None:
        self._task = task
        self._ways = ways_of(settings.candidates)
        self._models = models
        self._stages = stages
        self._metrics = metrics

    def contest(self, chat: ChatRequest) -> Contest:
        """A contest of all candidates, or of the first alone where a pick would not be safe."""
        ways = self._ways if may_be_picked(chat) else self._ways[:1]
        entries = [self._entry(way) for way in ways]
        return Contest(entries, entries[0])

    def _entry(self, way: Way) -> Entry:
        return Entry(Attempt(self._models[way.settings.model], Tier.STRONG, Role.CANDIDATE), way)

    async def run(self, contest: Contest, chat: ChatRequest, key_of: KeyOf) -> Attempt:
        """Ask all candidates and pick one.

        Args:
            contest: A new one; it tells how far this has come even where it is broken off.
            chat: What the client asks.
            key_of: The caller's own key, where it may go to a model.

        Returns:
            The call whose answer the client gets; of a lone candidate it may still be under way.

        Raises:
            UpstreamError: No candidate answered; what is said is the first one's.
        """
        if len(contest.entries) == 1:
            return await self._alone(contest, chat, key_of)
        async with asyncio.TaskGroup() as asking:
            for entry in contest.entries:
                asking.create_task(self._whole(entry, chat, key_of))
        whole = [number for number, entry in enumerate(contest.entries) if entry.content is not None]
        if not whole:
            contest.settle(contest.entries[0], None)
            self._count(contest)
            raise contest.live.error or UpstreamError("no candidate answered")
        await self._pick(contest, whole, chat, key_of)
        self._count(contest)
        return contest.live.attempt

    async def _alone(self, contest: Contest, chat: ChatRequest, key_of: KeyOf) -> Attempt:
        """Ask the only candidate; its answer is relayed as it comes."""
        (entry,) = contest.entries
        contest.settle(entry, ONLY)
        try:
            await self._open(entry, chat, key_of, None)
        except UpstreamError as error:
            entry.error = error
            raise
        finally:
            self._count(contest)
        return entry.attempt

    async def _open(self, entry: Entry, chat: ChatRequest, key_of: KeyOf, limit_bytes: int | None) -> None:
        model = entry.attempt.model
        body = candidate_body(chat, model.name, entry.way)
        try:
            await entry.attempt.open(
                body, stream=chat.stream, authorization=key_of(model), limit_bytes=limit_bytes
            )
        except UpstreamError:
            self._metrics.upstream_failed(model.name)
            raise

    async def _whole(self, entry: Entry, chat: ChatRequest, key_of: KeyOf) -> None:
        """Ask one candidate and hold all of its answer."""
        attempt = entry.attempt
        try:
            await self._open(entry, chat, key_of, HELD_BYTES)
            assert attempt.reply is not None
            if attempt.reply.streams:
                gate = Gate(hide_usage=not chat.wants_usage)
                entry.content = await read_stream(attempt, gate, HELD_BYTES)
            else:
                entry.content = attempt.body
        except UpstreamError as error:
            attempt.fail(str(error))
            entry.error = error
        attempt.end()

    async def _pick(self, contest: Contest, whole: Sequence[int], chat: ChatRequest, key_of: KeyOf) -> None:
        candidates = [
            Candidate(number, read_answer(contest.entries[number].attempt.body)) for number in whole
        ]
        better = [candidate for candidate in candidates if candidate.answer.complete] or candidates

        async def ask(alias: str, fields: Mapping[str, Any]) -> Answer | None:
            attempt = Attempt(self._models[alias], Tier.STRONG, Role.JUDGE)
            contest.judging.append(attempt)
            return await self._judged(attempt, fields, key_of)

        question = Question(chat.prompt, chat.hints, bytes(chat.fields.get("response_format") or b"null"))
        picked = await pick(self._stages, question, better, ask, self._stage_failed)
        contest.settle(contest.entries[picked.number], picked.by)

    async def _judged(self, attempt: Attempt, fields: Mapping[str, Any], key_of: KeyOf) -> Answer | None:
        """A judge's answer; None where there is none."""
        body = msgspec.json.encode({**fields, "model": attempt.model.name})
        try:
            await attempt.open(
                body, stream=False, authorization=key_of(attempt.model), limit_bytes=HELD_BYTES
            )
        except UpstreamError:
            self._metrics.upstream_failed(attempt.model.name)
            return None
        except asyncio.CancelledError:
            attempt.fail("broken off: nobody waits for this judgement any longer")
            raise
        attempt.end()
        return read_answer(attempt.body)

    def _stage_failed(self, stage: str) -> None:
        self._metrics.stage_failed(self._task, stage)

    def _count(self, contest: Contest) -> None:
        for entry in contest.entries:
            outcome = "failed" if entry.error else "picked" if entry is contest.live else "passed_over"
            self._metrics.candidate(self._task, entry.attempt.model.name, outcome)
        if contest.by is not None and contest.live.error is None:
            self._metrics.picked(self._task, contest.by)

    async def close(self) -> None:
        """Close the stages."""
        for stage in self._stages:
            await stage.close()


def open_portfolios(
    tasks: Mapping[str, TaskSettings], models: Mapping[str, Model], stages_of: StagesOf, metrics: Metrics
) -> dict[str, Portfolio]:
    """The portfolios by task, of those tasks that have one.

    Raises:
        SettingsError: A picker's stage cannot be had.
    """
    return {
        name: Portfolio(name, task.portfolio, models, stages_of(name, task), metrics)
        for name, task in tasks.items()
        if task.portfolio is not None
    }
