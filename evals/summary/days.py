"""The history of a task by days, or by hours while it is young.

Invariant: the periods follow each other without gaps and hold each request that is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd

from evals.outcomes import Outcomes
from evals.report import traffic
from evals.report.quality import audit
from evals.summary.bills import Stretch, bill_of
from evals.summary.documents import Audited, Days, Measured, Period
from evals.summary.scene import CONFIDENCE, Scene
from stepdown.records import Mode

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YOUNG = timedelta(days=3)


def days(scene: Scene) -> Days:
    """The history of a task.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    came = scene.outcomes.requests["at"]
    young = came.empty or came.max() - came.min() < YOUNG
    return Days(
        at=scene.at,
        since=scene.since,
        bucket="hour" if young else "day",
        confidence=CONFIDENCE,
        router_since=scene.router_since,
        periods=tuple(_periods(scene, _dated(scene.outcomes, HOUR if young else DAY))),
    )


def explored_since(outcomes: Outcomes, start: datetime | None) -> Outcomes | None:
    """The explored requests of mode route since a router was put in force; None where none is in force."""
    if start is None:
        return None
    requests = outcomes.requests
    return outcomes.where(requests["explored"] & (requests["mode"] == Mode.ROUTE) & (requests["at"] >= start))


def audited(outcomes: Outcomes | None) -> Audited | None:
    """The audit of explored requests; None where there are none."""
    if outcomes is None or not outcomes.requests["explored"].any():
        return None
    return Audited.of(audit(outcomes, CONFIDENCE))


def coverage(outcomes: Outcomes) -> Measured | None:
    """Share of the routed requests that small answered; None where none was routed."""
    in_route = traffic.routed(outcomes).requests
    return Measured.of(traffic.coverage(in_route, CONFIDENCE)) if len(in_route) else None


class _Dated(NamedTuple):
    """A period and when it starts."""

    start: datetime
    stretch: Stretch


def _dated(outcomes: Outcomes, width: timedelta) -> list[_Dated]:
    """The periods, the first and the last open on the outer side for what was spent before and after."""
    came = outcomes.requests["at"]
    if came.empty:
        return []
    first = came.min().floor("h" if width == HOUR else "D")
    number = (came - first) // width
    starts = [first.to_pydatetime() + n * width for n in range(int(number.max()) + 1)]
    ends = [*starts[1:], None]
    return [
        _Dated(start, Stretch(start if n else None, ends[n], part))
        for n, (start, part) in enumerate(zip(starts, _split(outcomes, number, len(starts)), strict=True))
    ]


def _split(outcomes: Outcomes, number: pd.Series[int], count: int) -> list[Outcomes]:
    """The outcomes of each period, by one pass over the tables."""
    of_request = pd.Series(number.to_numpy(), index=outcomes.requests["id"])
    requests = _parts(outcomes.requests, number)
    calls = _parts(outcomes.calls, outcomes.calls["request"].map(of_request))
    pairs = _parts(outcomes.pairs, outcomes.pairs["id"].map(of_request))
    return [
        replace(
            outcomes,
            requests=requests.get(n, outcomes.requests.iloc[:0]),
            calls=calls.get(n, outcomes.calls.iloc[:0]),
            pairs=pairs.get(n, outcomes.pairs.iloc[:0]),
        )
        for n in range(count)
    ]


def _parts(table: pd.DataFrame, number: pd.Series[int]) -> dict[Any, pd.DataFrame]:
    chosen = table.groupby(number.to_numpy()).indices
    return {n: table.iloc[rows].reset_index(drop=True) for n, rows in chosen.items()}


def _periods(scene: Scene, dated: Sequence[_Dated]) -> Iterator[Period]:
    explored = explored_since(scene.outcomes, scene.router_since)
    for start, stretch in dated:
        made = bill_of(scene, stretch)
        yield Period(
            start=start,
            requests=len(stretch.outcomes.requests),
            bill=made.bill,
            why_no_bill=made.why,
            coverage=coverage(stretch.outcomes),
            audit=audited(stretch.outcomes),
            audit_so_far=_so_far(explored, stretch.end),
        )


def _so_far(explored: Outcomes | None, end: datetime | None) -> Audited | None:
    if explored is None or end is None:
        return audited(explored)
    return audited(explored.where(explored.requests["at"] < end))
