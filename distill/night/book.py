"""The nights as the ledger has them: which there were, what happened in each, and what a task has cost.

Invariant: an event is written once; who writes one that is there already learns that it was not theirs. Knows
nothing of what a stage does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select

from distill.night.machine import ENDED, Ending, Stage
from stepdown.errors import LedgerError
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Night, NightEvent, Role

UNSEEN = (Role.JUDGE.value, Role.SHADOW.value)


class Book:
    """Reads and writes the nights of one task.

    Args:
        ledger: Where they are.
        task: Name of the task.
    """

    def __init__(self, ledger: Ledger, task: str) -> None:
        self._ledger = ledger
        self._task = task

    def nights(self) -> list[Night]:
        """All nights of the task, in the order of their beginning."""
        table = schema.nights
        every = select(table).where(table.c.task == self._task).order_by(table.c.at, table.c.id)
        return [Night(**row._mapping) for row in self._ledger.rows(every)]

    def night(self, name: str) -> Night:
        """One night.

        Raises:
            LedgerError: There is none of that name.
        """
        rows = self._ledger.rows(select(schema.nights).where(schema.nights.c.id == name))
        if not rows:
            raise LedgerError(f"night {name!r} is not in the ledger; `stepdown night status` shows the last")
        return Night(**rows[0]._mapping)

    def unfinished(self) -> Night | None:
        """The oldest night that is not over, or None."""
        nights, events = schema.nights, schema.night_events
        reported = and_(
            events.c.night == nights.c.id, events.c.stage == Stage.REPORT.value, events.c.event == ENDED
        )
        unended = (
            select(nights)
            .select_from(nights.outerjoin(events, reported))
            .where(nights.c.task == self._task, events.c.night.is_(None))
            .order_by(nights.c.at, nights.c.id)
            .limit(1)
        )
        rows = self._ledger.rows(unended)
        return Night(**rows[0]._mapping) if rows else None

    def before(self, night: Night) -> Night | None:
        """The night before this one, or None."""
        earlier = [n for n in self.nights() if (n.at, n.id) < (night.at, night.id)]
        return earlier[-1] if earlier else None

    def begin(self, night: Night) -> Night:
        """Write a night, and give it as it stands: where it was begun already, as it was then."""
        self._ledger.append([night])
        return self.night(night.id)

    def events(self, night: str) -> tuple[NightEvent, ...]:
        """What happened in a night, in the order of its happening."""
        table = schema.night_events
        rows = self._ledger.rows(select(table).where(table.c.night == night).order_by(table.c.at))
        return tuple(NightEvent(**row._mapping) for row in rows)

    def note(
        self,
        night: str,
        stage: str,
        event: str,
        ending: Ending | None = None,
        found: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write that something happened; False where it had been written already."""
        at = now()
        written = NightEvent(
            night=night,
            stage=str(stage),
            event=event,
            at=at,
            outcome=str(ending.outcome) if ending else "",
            reason=ending.reason if ending else "",
            found=(ending.found if ending else found) or {},
        )
        self._ledger.append([written])
        table = schema.night_events
        mine = (table.c.night == night) & (table.c.stage == str(stage)) & (table.c.event == event)
        return bool(self._ledger.rows(select(table.c.at).where(mine))[0].at == at)

    def first_request(self) -> datetime | None:
        """When the task's first request came, or None."""
        table = schema.requests
        oldest = select(table.c.at).where(table.c.task == self._task).order_by(table.c.at).limit(1)
        rows = self._ledger.rows(oldest)
        return rows[0].at if rows else None

    def cost(self) -> int:
        """What was ever spent on the task unseen by its clients, in micro-dollars.

        That is: calls of judges and in shadows, answers to evaluations, and the hours of machines. What has
        no known price adds nothing.
        """
        return sum(int(self._ledger.rows(query)[0][0] or 0) for query in _costs(self._task))


def _costs(task: str) -> Sequence[Select[Any]]:
    requests, calls, answers, expenses = (
        schema.requests,
        schema.calls,
        schema.cached_answers,
        schema.expenses,
    )
    of_task = calls.join(requests, requests.c.id == calls.c.request)
    return (
        select(func.sum(calls.c.cost_usd_micros))
        .select_from(of_task)
        .where(requests.c.task == task, calls.c.role.in_(UNSEEN)),
        select(func.sum(answers.c.cost_usd_micros)).where(answers.c.task == task),
        select(func.sum(expenses.c.cost_usd_micros)).where(expenses.c.task == task),
    )
