"""Searches a task's requests, from the newest or the oldest side, a bounded stretch at a time.

Invariant: no search reads longer than its budget of time, but for one small step: it stops where it is, says
so, and goes on from there when it is asked to. What it leaves out on the way fits no filter. Rows are found
by the index of task and time, and everything of a row by the keys of its own records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from dashboards.queries.filters import Filters, Place
from dashboards.queries.lines import Line, Material, lines_of
from dashboards.queries.reads import Reads, reading
from dashboards.queries.spans import Span, spans
from stepdown.ledger import Ledger, schema

PAGE = 50
FIRST_STEP, LONGEST_STEP = 250, 2_000  # rows of an index's stretch
EXAMINED_TOGETHER = 200

_r = schema.requests.c
COLUMNS = (
    _r.id,
    _r.at,
    _r.task,
    _r.model_asked,
    _r.slice,
    _r.body,
    _r.status,
    _r.latency_ms,
)
DECIDED = ("mode", "chosen", "reason", "explored", "student")

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        lines: The requests, the newest first.
        goes_on: Where it stopped: more may be there; None where there is none.
        out_of_time: Whether it stopped because its time was up.
    """

    lines: Sequence[Line]
    goes_on: Place | None
    out_of_time: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows of one stretch of the index; `end` is its last place, None where the span ends in it."""

    rows: Sequence[Row[Any]]
    end: Place | None


class Search:
    """A search for requests.

    Args:
        ledger: Where they are.
        task: Whose requests.
        filters: Which.
        budget_s: Seconds after which it stops.
        newer: Whether it goes from the place to what is newer, instead of older.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        ledger: Ledger,
        task: str,
        filters: Filters,
        *,
        budget_s: float,
        newer: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ledger, self._task, self._filters, self._newer = ledger, task, filters, newer
        self._clock, self._budget_s = clock, budget_s
        self._until = clock() + budget_s

    def run(self, place: Place | None = None, most: int = PAGE) -> Found:
        """Search on from a place; None begins at the newest, or the oldest, request.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        in_order = spans(self._ledger, self._task, self._filters)
        with reading(self._ledger) as reads:
            material = Material(reads, self._filters)
            rows, goes_on, out_of_time = self._collected(reads, material, in_order, place, most)
            newest_first = rows[::-1] if self._newer else rows
            return Found(lines_of(newest_first, material), goes_on, out_of_time)

    def _collected(
        self, reads: Reads, material: Material, in_order: Sequence[Span], place: Place | None, most: int
    ) -> tuple[list[Row[Any]], Place | None, bool]:
        """The rows that fit, where the search goes on, and whether its time was up."""
        if self._filters.id:
            return self._named(reads), None, False
        kept: list[Row[Any]] = []
        for row, seen, fits in self._walk(reads, material, in_order, place):
            if row is not None and fits:
                if len(kept) == most:
                    return kept, _place(kept[-1]), False
                kept.append(row)
            if self._clock() > self._until:
                return kept, seen, True
        return kept, None, False

    def _walk(
        self, reads: Reads, material: Material, in_order: Sequence[Span], place: Place | None
    ) -> Iterator[tuple[Row[Any] | None, Place, bool]]:
        """Each row that the database lets through, where it is and whether it fits; and each step's end."""
        for span in reversed(in_order) if self._newer else in_order:
            if _lies_behind(span, place, self._newer):
                continue
            size = FIRST_STEP if self._filters.given else PAGE + 1
            while True:
                step = self._step(reads, span, place, size)
                yield from _examined(material, step.rows)
                if step.end is None:
                    break
                place = step.end
                yield None, place, False
                size = min(2 * size, LONGEST_STEP)

    def _step(self, reads: Reads, span: Span, place: Place | None, size: int) -> _Step:
        """The next rows of a span that fit the cheap filters, of `size` that the index has."""
        of_task = _r.task == self._task
        within = [of_task, *self._within(span, place)]
        order = self._order()
        ends = reads.rows(select(_r.at, _r.id).where(*within).order_by(*order).offset(size - 1).limit(1))
        end = Place(ends[0].at, ends[0].id) if ends else None
        if end is not None:
            within = [of_task, *self._within(span, place, end)]
        query, decided = _with_decisions(reads)
        found = reads.rows(query.where(*within, *self._filters.cheap(decided)).order_by(*order))
        return _Step(found, end)

    def _order(self) -> tuple[Any, Any]:
        return (_r.at, _r.id) if self._newer else (_r.at.desc(), _r.id.desc())

    def _within(self, span: Span, place: Place | None, end: Place | None = None) -> list[ColumnElement[bool]]:
        """The rows of a span after a place, and up to an end.

        Each side has one bound, the tighter: of two, SQLite may take the wider one to the index.
        """
        newer = self._newer
        low, high = (place, end) if newer else (end, place)
        found: list[ColumnElement[bool]] = []
        if low is not None and (span.low is None or low.at >= span.low):
            found += [_r.at >= low.at, (_r.at > low.at) | (_r.id > low.id if newer else _r.id >= low.id)]
        elif span.low is not None:
            found.append(_r.at >= span.low)
        if high is not None and (span.high is None or high.at < span.high):
            found += [_r.at <= high.at, (_r.at < high.at) | (_r.id <= high.id if newer else _r.id < high.id)]
        elif span.high is not None:
            found.append(_r.at < span.high)
        return found

    def _named(self, reads: Reads) -> list[Row[Any]]:
        """The request that is called so, or one of whose calls is."""
        name, calls = self._filters.id, schema.calls.c
        made_for = [row.request for row in reads.rows(select(calls.request).where(calls.id == name))]
        query, _ = _with_decisions(reads)
        return list(reads.rows(query.where(_r.task == self._task, _r.id.in_([name, *made_for]))))


def _examined(material: Material, rows: Sequence[Row[Any]]) -> Iterator[tuple[Row[Any] | None, Place, bool]]:
    for start in range(0, len(rows), EXAMINED_TOGETHER):
        group = rows[start : start + EXAMINED_TOGETHER]
        for row, fits in zip(group, material.fitting(group), strict=False):
            yield row, _place(row), fits


def _with_decisions(reads: Reads) -> tuple[Select[Any], Mapping[str, Any]]:
    """Requests with their decisions, and the latter's columns.

    PostgreSQL is told by OFFSET 0 to look each decision up by its key; it would read all of them for a filter
    that it believes to be rare.
    """
    decisions: Any = schema.decisions
    if reads.is_postgres:
        decisions = select(decisions).where(decisions.c.request == _r.id).offset(0).lateral("decided")
    joined = schema.requests.outerjoin(decisions, decisions.c.request == _r.id)
    columns = [decisions.c[name] for name in DECIDED]
    return select(*COLUMNS, *columns).select_from(joined), decisions.c


def _place(row: Row[Any]) -> Place:
    return Place(row.at, row.id)


def _lies_behind(span: Span, place: Place | None, newer: bool) -> bool:
    """Whether a search that is at a place has left a span behind."""
    if place is None:
        return False
    if newer:
        return span.high is not None and span.high <= place.at
    return span.low is not None and span.low > place.at
