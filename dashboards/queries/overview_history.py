"""The history that the workers keep of a task, cut to the period of a page.

Invariant: every amount is one of the kept bills, or a sum of them; the ends of an interval are added where
bills are, which errs wide. Pure: documents in, points of charts out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dashboards.queries.overview import Calls
from dashboards.queries.period import DAY, Period
from evals.report.tree import Money
from evals.summary.documents import Billed, Days, Measured
from evals.summary.documents import Period as Kept
from stepdown.records import Role, Tier

PARTS: Mapping[str, tuple[str, ...]] = {
    "shadow calls": ("shadow",),
    "exploration": ("exploration",),
    "judges and labels": ("judge",),
    "other answers": ("candidates", "escalation", "evaluations", "trials"),
    "machines": ("rent", "distillation"),
}
STRONG_ANSWERS, SMALL_ANSWERS = "answers of strong", "answers of small"
NAMES = (STRONG_ANSWERS, SMALL_ANSWERS, *PARTS)


class Spent(NamedTuple):
    """What one part of the bill was in one bucket, in micro-dollars."""

    start: datetime
    part: str
    usd_micros: int


class Estimated(NamedTuple):
    """An estimate of one bucket."""

    start: datetime
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class History:
    """The kept history of a period.

    Attributes:
        spent: By bucket and part, of `NAMES`.
        on_strong: What always-strong would have cost, by bucket, in micro-dollars.
        saved: Net saving since the beginning of the period, likewise.
        quality: Quality less always-strong's on all explored requests since the router in force was put in
            force, up to the end of each bucket.
        unbilled: Buckets without a bill, and `why` the last of them has none.
    """

    spent: tuple[Spent, ...] = ()
    on_strong: tuple[Estimated, ...] = ()
    saved: tuple[Estimated, ...] = ()
    quality: tuple[Estimated, ...] = ()
    unbilled: int = 0
    why: str = ""


def fits(days: Days, period: Period) -> bool:
    """Whether a history is kept in steps that are short enough for a period."""
    return days.bucket == "hour" or period.width >= DAY


def history_of(days: Days, period: Period, calls: Sequence[Calls]) -> History:
    """The history of a period.

    Args:
        days: As it is kept; in steps that fit.
        period: Of the page.
        calls: Of the period, by which the answers to clients are shared out between the models.
    """
    kept: dict[datetime, list[Kept]] = defaultdict(list)
    for one in days.periods:
        if one.start >= period.since:
            kept[period.bucket_of(one.start)].append(one)
    bills = {start: [one.bill for one in ones if one.bill] for start, ones in kept.items()}
    small = _small_shares(calls)
    on_strong = [_sum(start, (b.counterfactual for b in some)) for start, some in bills.items() if some]
    net = [_sum(start, (b.net for b in some)) for start, some in bills.items() if some]
    missing = [one.why_no_bill for ones in kept.values() for one in ones if one.bill is None]
    return History(
        spent=tuple(
            part for start, some in bills.items() for part in _parts(start, some, small.get(start, 0.0))
        ),
        on_strong=tuple(on_strong),
        saved=tuple(_running(net)),
        quality=tuple(_quality(kept)),
        unbilled=len(missing),
        why=missing[-1] if missing else "",
    )


def _small_shares(calls: Iterable[Calls]) -> dict[datetime, float]:
    """Small's share of what answers to clients cost, by bucket."""
    costs: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in calls:
        if row.role == Role.LIVE:
            costs[row.start][row.tier] += row.cost_usd_micros
    return {
        start: by_tier[Tier.SMALL] / whole
        for start, by_tier in costs.items()
        if (whole := sum(by_tier.values()))
    }


def _parts(start: datetime, bills: Sequence[Billed], small: float) -> Iterable[Spent]:
    def total(*names: str) -> int:
        return sum(getattr(bill, name) for bill in bills for name in names)

    live = total("live")
    of_small = round(small * live)
    yield Spent(start, STRONG_ANSWERS, live - of_small)
    yield Spent(start, SMALL_ANSWERS, of_small)
    for part, names in PARTS.items():
        yield Spent(start, part, total(*names))


def _sum(start: datetime, amounts: Iterable[Money]) -> Estimated:
    some = list(amounts)
    value, low, high = (sum(ends) for ends in list(zip(*some, strict=True))[:3])
    return Estimated(start, value, low, high, max(one.n for one in some))


def _running(amounts: Iterable[Estimated]) -> Iterable[Estimated]:
    value, low, high, n = 0.0, 0.0, 0.0, 0
    for one in amounts:
        value, low, high, n = value + one.value, low + one.low, high + one.high, max(n, one.n)
        yield Estimated(one.start, value, low, high, n)


def _quality(kept: Mapping[datetime, Sequence[Kept]]) -> Iterable[Estimated]:
    for start, ones in kept.items():
        audits = [one.audit_so_far for one in ones if one.audit_so_far]
        if audits and (found := estimated(start, audits[-1].difference)):
            yield found


def estimated(start: datetime, found: Measured) -> Estimated | None:
    """A measured value as a point; None where there is none."""
    if found.value is None or found.low is None or found.high is None or not found.n:
        return None
    return Estimated(start, found.value, found.low, found.high, found.n)
