"""Puts every case to every contender: many at once, each question once, whatever becomes of the others.

Invariant: each case has a reply from each contender, an answer or the reason why there is none. A model
that fails again and again is left alone, and one that was away is told from one that refuses a case.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.answering import Answered, Answering
from evals.harness.contender import Contender
from evals.harness.suite import Case
from router.ask import WORTH_ANOTHER_TRY
from stepdown.errors import SuiteError

AWAY_AFTER = 20
CLOCK: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question.

    Attributes:
        answered: The answer; None where there is none.
        error: Why there is none, or None.
        may_come: Whether another run may get an answer: the model was away, busy, or not asked in time.
    """

    answered: Answered | None
    error: str | None = None
    may_come: bool = False


Replies = Mapping[tuple[str, str], Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run cost just now.

    Attributes:
        asked: Answers that were not in the cache.
        cached: Answers that were.
        usd_micros: Of all attempts whose cost is known.
        unpriced: Questions put whose cost is not known.
    """

    asked: int
    cached: int
    usd_micros: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The replies by contender and case, and what they cost just now."""

    replies: Replies
    spent: Spent

    @property
    def out_of_time(self) -> bool:
        """Whether questions were left because the time was up."""
        return any(reply.error == OUT_OF_TIME for many in self.replies.values() for reply in many)


OUT_OF_TIME = "not asked: the time was up"


async def ask_all(
    answering: Answering,
    contenders: Sequence[Contender],
    cases: Sequence[Case],
    *,
    concurrency: int,
    deadline: float = float("inf"),
    on_reply: Callable[[], None] = lambda: None,
) -> Asked:
    """Ask all contenders all cases.

    Args:
        answering: The cached answers and the models.
        contenders: Who is asked.
        cases: What is asked.
        concurrency: Questions at once of one model.
        deadline: Time of `CLOCK` at which no more is asked.
        on_reply: Called after each case of each contender.

    Raises:
        SettingsError: A model is not declared.
        LedgerError: The ledger refused.
    """
    asking = _Asking(answering, {contender.alias for contender in contenders}, concurrency, deadline)
    replies: dict[tuple[str, str], list[Reply]] = {}

    async def ask(contender: Contender, case: Case) -> None:
        replies[contender.name, case.id] = await asking.case(contender, case)
        on_reply()

    await all_of(ask(contender, case) for case in cases for contender in contenders)
    return Asked(replies, _spent(replies.values()))


async def all_of(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


class _Asking:
    def __init__(self, answering: Answering, aliases: set[str], concurrency: int, deadline: float) -> None:
        self._answering = answering
        self._places = {alias: asyncio.Semaphore(concurrency) for alias in aliases}
        self._failures: Counter[str] = Counter()
        self._deadline = deadline

    async def case(self, contender: Contender, case: Case) -> list[Reply]:
        try:
            fields = contender.fields(case.fields)
        except SuiteError as error:
            return [Reply(None, str(error))]
        async with self._places[contender.alias]:
            return [await self._sample(contender.alias, fields, n) for n in range(contender.samples)]

    async def _sample(self, alias: str, fields: Mapping[str, object], sample: int) -> Reply:
        if self._failures[alias] >= AWAY_AFTER:
            why = f"not asked: model {alias!r} failed {AWAY_AFTER} times in a row"
            return Reply(None, why, may_come=True)
        if CLOCK() >= self._deadline:
            return Reply(None, OUT_OF_TIME, may_come=True)
        answered = await self._answering.answer(alias, fields, sample=sample)
        may_come = answered.error is not None and may_come_later(answered.status)
        self._failures[alias] = self._failures[alias] + 1 if may_come else 0
        return Reply(answered, answered.error, may_come)


def may_come_later(status: int) -> bool:
    """Whether a failure of this status is of the moment, and none of the question."""
    return status < 300 or status in WORTH_ANOTHER_TRY or status in (401, 403)


def _spent(replies: Iterable[Sequence[Reply]]) -> Spent:
    answered = [reply.answered for many in replies for reply in many if reply.answered is not None]
    fresh = [answer for answer in answered if answer.fresh]
    costs = [answer.spent_usd_micros for answer in fresh]
    known = [cost for cost in costs if cost is not None]
    return Spent(len(fresh), len(answered) - len(fresh), sum(known), len(costs) - len(known))
