"""Where in time requests may be that a filter wants, told by the counts of each hour.

Invariant: an hour is left out only where it was counted since its rows came, and none of what was counted
fits; what was not counted yet, and the last hours, are always looked at. Reads counts and no requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, select

from dashboards.queries.filters import Filters
from evals.rollups.due import Progress
from evals.rollups.fill import PROGRESS
from evals.rollups.hour import HOUR_MICROS
from stepdown.ledger import Ledger, schema
from stepdown.ledger.schema import EPOCH, MICROSECOND
from stepdown.summaries import ALL_TASKS, Summaries


class Span(NamedTuple):
    """From a time on, and up to before another; None has no end."""

    low: datetime | None
    high: datetime | None


def spans(ledger: Ledger, task: str, filters: Filters) -> list[Span]:
    """Where to look, the newest first; they do not touch.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    whole = Span(filters.since, filters.until)
    conditions = _counted_conditions(filters)
    progress = _progress(ledger) if conditions else None
    if progress is None or progress.watermark is None:
        return [whole]
    table = schema.request_hours.c
    counted_from = progress.since  # hours that begin here or later may have grown since they were counted
    query = select(table.hour).where(table.task == task, *conditions).distinct()
    fitting = {(row.hour - EPOCH) // MICROSECOND for row in ledger.rows(query)}
    pending = {number * HOUR_MICROS for number in progress.pending.get(task, ())}
    hours = sorted(hour for hour in fitting | pending if hour < counted_from)
    return [cut for span in _merged(hours, counted_from) if (cut := _within(span, whole)) is not None]


def _counted_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Of the filters those that the counts answer."""
    table = schema.request_hours.c
    found: list[ColumnElement[bool]] = []
    if filters.mode is not None:
        found.append(table.mode == filters.mode)
    if filters.reason is not None:
        found.append(table.reason == filters.reason)
    if filters.outcome is not None:
        found.append(filters.outcome.had_by(table.status))
    return found


def _progress(ledger: Ledger) -> Progress | None:
    kept = Summaries(ledger).read(ALL_TASKS, PROGRESS, Progress)
    return kept.document if kept else None


def _merged(hours: Iterable[int], uncounted: int) -> list[Span]:
    """Hours in ascending order and all that is uncounted, as spans, the newest first."""
    found: list[list[int]] = []
    for hour in hours:
        if found and found[-1][1] == hour:
            found[-1][1] = hour + HOUR_MICROS
        else:
            found.append([hour, hour + HOUR_MICROS])
    ends: list[tuple[int, int | None]] = [(low, high) for low, high in found]
    if ends and ends[-1][1] == uncounted:
        ends[-1] = (ends[-1][0], None)
    else:
        ends.append((uncounted, None))
    return [Span(_at(low), None if high is None else _at(high)) for low, high in reversed(ends)]


def _at(micros: int) -> datetime:
    return EPOCH + micros * MICROSECOND


def _within(span: Span, whole: Span) -> Span | None:
    """What two spans share, or None."""
    lows = [low for low in (span.low, whole.low) if low is not None]
    highs = [high for high in (span.high, whole.high) if high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    return None if low is not None and high is not None and low >= high else Span(low, high)
