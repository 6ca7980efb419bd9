"""Keeps `request_hours` and `call_hours`: counts the hours that are due, the newest first.

Invariant: an hour is counted whole and replaced in one transaction, so counting it twice changes nothing, and
what was under way when a process was killed is done again. One process counts at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Table, and_, delete, insert, or_

from evals.rollups.due import Progress, look
from evals.rollups.hour import HOUR_MICROS, Hour, count_hour
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.ledger.lock import alone
from stepdown.ledger.schema import EPOCH, MICROSECOND
from stepdown.summaries import ALL_TASKS, Summaries

PROGRESS = "rollup"
TOGETHER = 48  # hours in one transaction, where they are short
TOGETHER_S = 1.0


class _Named(NamedTuple):
    task: str
    number: int


def roll_up(ledger: Ledger, *, at: datetime | None = None, budget_s: float = 10.0) -> int:
    """Count the hours whose rows have changed; what is left when the time is up is counted next time.

    Args:
        ledger: What is counted and where the counts are kept.
        at: The present; None asks the clock.
        budget_s: Seconds after which no further hour is begun; the first one always is.

    Returns:
        Hours counted; 0 too where another process is counting.

    Raises:
        LedgerError: The ledger refused.
    """
    deadline = time.monotonic() + budget_s
    with alone(ledger, PROGRESS) as held:
        if not held:
            return 0
        summaries = Summaries(ledger)
        before = _progress(summaries)
        progress = look(ledger, before, at or now())
        if progress != before:
            # Kept before what it promises is begun.
            summaries.keep(ALL_TASKS, PROGRESS, msgspec.json.encode(progress))
        done = 0
        for hours in _counted(ledger, progress, deadline):
            _replace(ledger, hours)
            for hour in hours:
                progress.pending[hour.task].remove(hour.number)
            summaries.keep(ALL_TASKS, PROGRESS, msgspec.json.encode(progress))
            done += len(hours)
        return done


def _progress(summaries: Summaries) -> Progress:
    kept = summaries.read(ALL_TASKS, PROGRESS, Progress)
    return kept.document if kept else Progress()  # where that is of another version, all is counted anew


def _counted(ledger: Ledger, progress: Progress, deadline: float) -> Iterator[list[Hour]]:
    """Counted hours, as many at a time as are worth a transaction."""
    waiting = [_Named(task, number) for task, numbers in progress.pending.items() for number in numbers]
    waiting.sort(key=lambda one: one.number)
    first = True
    while waiting and (first or time.monotonic() < deadline):
        first, begun, together = False, time.monotonic(), list[Hour]()
        while waiting and len(together) < TOGETHER:
            together.append(count_hour(ledger, *waiting.pop()))
            if time.monotonic() >= min(deadline, begun + TOGETHER_S):
                break
        yield together


def _replace(ledger: Ledger, hours: list[Hour]) -> None:
    with ledger.writing() as connection:
        for table in (schema.request_hours, schema.call_hours):
            of_hours = [and_(table.c.task == hour.task, table.c.hour == _time(hour.number)) for hour in hours]
            connection.execute(delete(table).where(or_(*of_hours)))
        _insert(connection, schema.request_hours, hours)
        _insert(connection, schema.call_hours, hours)


def _insert(connection: Connection, table: Table, hours: list[Hour]) -> None:
    of_requests = table is schema.request_hours
    rows = [
        {**row, "hour": _time(hour.number)}
        for hour in hours
        for row in (hour.request_rows() if of_requests else hour.call_rows())
    ]
    if rows:
        connection.execute(insert(table), rows)


def _time(number: int) -> datetime:
    return EPOCH + number * HOUR_MICROS * MICROSECOND
