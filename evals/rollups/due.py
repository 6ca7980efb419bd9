"""Which hours of which tasks have changed since they were counted.

Invariant: an hour is due if a request of it, or a call for a request of it, came to the ledger since the
last look. Rows are committed when they end and are never changed, so what is dated less than an hour before
the newest row that was seen is looked at again, and skipped where there are as many rows as before. Reads
indexes of what is new, and one entry an hour of what is old.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, field
from sqlalchemy import BigInteger, Select, func, literal_column, select, type_coerce

from evals.rollups.hour import CAME, HOUR_MICROS
from stepdown.ledger import Ledger, schema
from stepdown.ledger.schema import EPOCH, MICROSECOND

OVERLAP = timedelta(hours=1)

Hours = dict[str, list[int]]
Rows = dict[str, dict[int, tuple[int, int]]]

_r, _c = schema.requests.c, schema.calls.c
# No parameter, so that databases can group by it.
HOUR: Any = CAME // literal_column(str(HOUR_MICROS), BigInteger)


class Progress(Struct):
    """How far the counting is; kept in a summary.

    Attributes:
        watermark: Time of the newest row that was seen, in microseconds since 1970; None before any look.
        pending: Hours yet to be counted, by task, in ascending order.
        since: From when on `seen` counts.
        seen: Requests, and calls made since `since`, by task and by hour of the request.
    """

    watermark: int | None = None
    pending: Hours = field(default_factory=dict)
    since: int = 0
    seen: Rows = field(default_factory=dict)


def tasks_seen(ledger: Ledger) -> tuple[str, ...]:
    """The tasks that have requests, by one look at the index for each.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    found: list[str] = []
    query = select(func.min(_r.task))
    while True:
        after = query.where(_r.task > found[-1]) if found else query
        name = ledger.rows(after)[0][0]
        if name is None:
            return tuple(found)
        found.append(str(name))


def look(ledger: Ledger, progress: Progress, at: datetime) -> Progress:
    """The progress with the hours added that are due.

    Args:
        ledger: Where requests and calls are.
        progress: As it was left.
        at: The present; rows from the future do not move the watermark.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    now, tasks = (at - EPOCH) // MICROSECOND, tasks_seen(ledger)
    if progress.watermark is None:
        pending = {task: _all_hours(ledger, task) for task in tasks}
        since = _start(_newest(ledger, tasks, now))
        return Progress(_newest(ledger, tasks, now), pending, since, _rows_since(ledger, tasks, since))
    since = _start(min(progress.watermark, now))
    rows = _rows_since(ledger, tasks, since)
    same = since == progress.since
    due = {
        task: {
            hour
            for hour, counts in hours.items()
            if not same or progress.seen.get(task, {}).get(hour) != counts
        }
        for task, hours in rows.items()
    }
    pending = {
        task: sorted({*progress.pending.get(task, ()), *due.get(task, ())})
        for task in {*progress.pending, *due}
    }
    newest = max(min(progress.watermark, now), _newest(ledger, tasks, now))
    return Progress(newest, {task: hours for task, hours in pending.items() if hours}, since, rows)


def _start(watermark: int) -> int:
    """From when on rows are looked at again: whole hours, so that looks shortly after each other compare."""
    overlapping = watermark - OVERLAP // MICROSECOND
    return overlapping - overlapping % HOUR_MICROS


def _newest(ledger: Ledger, tasks: tuple[str, ...], now: int) -> int:
    """When the newest request came or the newest call was made, up to now."""
    made = type_coerce(_c.at, BigInteger)
    queries = [select(func.max(made)).where(made <= now)]
    queries += [select(func.max(CAME)).where(_r.task == task, now >= CAME) for task in tasks]
    return max(int(ledger.rows(query)[0][0] or 0) for query in queries)


def _all_hours(ledger: Ledger, task: str) -> list[int]:
    """The hours in which requests of a task came, by one look at the index for each."""
    hours: list[int] = []
    query = select(func.min(CAME)).where(_r.task == task)
    while True:
        first = ledger.rows(query.where((hours[-1] + 1) * HOUR_MICROS <= CAME) if hours else query)[0][0]
        if first is None:
            return hours
        hours.append(int(first) // HOUR_MICROS)


def _rows_since(ledger: Ledger, tasks: tuple[str, ...], since: int) -> Rows:
    counts: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for task in tasks:
        for row in ledger.rows(_requests_since(task, since)):
            counts[task][int(row.hour)] = (int(row.rows), 0)
    for row in ledger.rows(_calls_since(since)):
        of_task, hour = counts[row.task], int(row.hour)
        of_task[hour] = (of_task.get(hour, (0, 0))[0], int(row.rows))
    return dict(counts)


def _requests_since(task: str, since: int) -> Select[Any]:
    counted: Select[Any] = select(HOUR.label("hour"), func.count().label("rows"))
    return counted.where(_r.task == task, since <= CAME).group_by(HOUR)


def _calls_since(since: int) -> Select[Any]:
    made = schema.calls.join(schema.requests, _c.request == _r.id)
    query: Select[Any] = select(_r.task, HOUR.label("hour"), func.count().label("rows")).select_from(made)
    return query.where(type_coerce(_c.at, BigInteger) >= since).group_by(_r.task, HOUR)
