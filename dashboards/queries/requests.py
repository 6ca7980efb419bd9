"""Searches a task's requests, from the newest or the oldest side, a bounded stretch at a time.

Invariant: no search reads longer than its budget of time, but for one small step: it stops where it is, says
so, and goes on from there when it is asked to. What it leaves out on the way fits no filter. Rows are found
by the index of task and time, and everything of a row by the keys of its own records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select, union

from dashboards.queries.filters import Filters, Place
from dashboards.queries.lines import Line, Material, lines_of
from dashboards.queries.spans import Span, spans
from stepdown.ledger import Ledger, schema

PAGE = 50
BUDGET_S = 0.12
FIRST_STEP, LONGEST_STEP = 250, 2_000  # rows of an index's stretch
EXAMINED_TOGETHER = 200

_r, _d = schema.requests.c, schema.decisions.c
COLUMNS = (
    _r.id,
    _r.at,
    _r.task,
    _r.model_asked,
    _r.slice,
    _r.body,
    _r.status,
    _r.latency_ms,
    _d.mode,
    _d.chosen,
    _d.reason,
    _d.explored,
    _d.student,
)

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
        newer: Whether it goes from the place to what is newer, instead of older.
        budget_s: Seconds after which it stops.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        ledger: Ledger,
        task: str,
        filters: Filters,
        *,
        newer: bool = False,
        budget_s: float = BUDGET_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ledger, self._task, self._filters, self._newer = ledger, task, filters, newer
        self._clock, self._budget_s = clock, budget_s
        self._until = clock() + budget_s
        self._material = Material(ledger, filters)
        self._cheap = filters.cheap()

    def run(self, place: Place | None = None, most: int = PAGE) -> Found:
        """Search on from a place; None begins at the newest, or the oldest, request.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        if self._filters.id:
            return Found(lines_of(self._ledger, self._named(), self._material), None, False)
        kept: list[Row[Any]] = []
        for row, seen, fits in self._walk(place):
            if row is not None and fits:
                if len(kept) == most:
                    return self._found(kept, _place(kept[-1]), False)
                kept.append(row)
            if self._clock() > self._until:
                return self._found(kept, seen, True)
        return self._found(kept, None, False)

    def _found(self, kept: list[Row[Any]], goes_on: Place | None, out_of_time: bool) -> Found:
        newest_first = kept[::-1] if self._newer else kept
        return Found(lines_of(self._ledger, newest_first, self._material), goes_on, out_of_time)

    def _walk(self, place: Place | None) -> Iterator[tuple[Row[Any] | None, Place, bool]]:
        """Each row that the database lets through, where it is and whether it fits; and each step's end."""
        in_order = spans(self._ledger, self._task, self._filters)
        for span in reversed(in_order) if self._newer else in_order:
            if _lies_behind(span, place, self._newer):
                continue
            size = FIRST_STEP if self._cheap or self._filters.needs_calls else PAGE + 1
            while True:
                step = self._step(span, place, size)
                yield from self._examined(step.rows)
                if step.end is None:
                    break
                place = step.end
                yield None, place, False
                size = min(2 * size, LONGEST_STEP)

    def _examined(self, rows: Sequence[Row[Any]]) -> Iterator[tuple[Row[Any], Place, bool]]:
        for start in range(0, len(rows), EXAMINED_TOGETHER):
            group = rows[start : start + EXAMINED_TOGETHER]
            for row, fits in zip(group, self._material.fitting(group), strict=False):
                yield row, _place(row), fits

    def _step(self, span: Span, place: Place | None, size: int) -> _Step:
        """The next rows of a span that fit the cheap filters, of `size` that the index has."""
        within = [_r.task == self._task, *self._within(span, place)]
        order = self._order()
        ends = self._ledger.rows(
            select(_r.at, _r.id).where(*within).order_by(*order).offset(size - 1).limit(1)
        )
        end = Place(ends[0].at, ends[0].id) if ends else None
        if end is not None:
            within += self._up_to(end)
        joined = schema.requests.outerjoin(schema.decisions, _d.request == _r.id)
        query: Select[Any] = select(*COLUMNS).select_from(joined).where(*within, *self._cheap)
        return _Step(self._ledger.rows(query.order_by(*order)), end)

    def _order(self) -> tuple[Any, Any]:
        return (_r.at, _r.id) if self._newer else (_r.at.desc(), _r.id.desc())

    def _within(self, span: Span, place: Place | None) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if span.low is not None:
            found.append(_r.at >= span.low)
        if span.high is not None:
            found.append(_r.at < span.high)
        if place is not None and self._newer:
            found += [_r.at >= place.at, (_r.at > place.at) | (_r.id > place.id)]
        elif place is not None:
            found += [_r.at <= place.at, (_r.at < place.at) | (_r.id < place.id)]
        return found

    def _up_to(self, end: Place) -> list[ColumnElement[bool]]:
        if self._newer:
            return [_r.at <= end.at, (_r.at < end.at) | (_r.id <= end.id)]
        return [_r.at >= end.at, (_r.at > end.at) | (_r.id >= end.id)]

    def _named(self) -> Sequence[Row[Any]]:
        """The request that is called so, or one of whose calls is."""
        name, calls = self._filters.id, schema.calls.c
        ids = union(select(_r.id).where(_r.id == name), select(calls.request).where(calls.id == name))
        joined = schema.requests.outerjoin(schema.decisions, _d.request == _r.id)
        query = select(*COLUMNS).select_from(joined).where(_r.task == self._task, _r.id.in_(ids))
        return self._ledger.rows(query)


def _place(row: Row[Any]) -> Place:
    return Place(row.at, row.id)


def _lies_behind(span: Span, place: Place | None, newer: bool) -> bool:
    """Whether a search that is at a place has left a span behind."""
    if place is None:
        return False
    if newer:
        return span.high is not None and span.high <= place.at
    return span.low is not None and span.low > place.at
