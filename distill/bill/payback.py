"""The day on which a student has paid itself back, or will at its present pace. Pure: tables in, values out.

A student has paid itself back on the first day at whose end all it saved is at least all it cost, and has
been ever since. Where it has not, what is missing is divided by what it nets a day. The pace is that of the
last week in service, or of the shorter time that it is in service without a break; a day at least, as a
night's traffic says nothing of a day's.

The interval of the saving is that of what strong would have cost. The pace's has the chance of arrivals on
top: prompts that come at random, independently (a compound Poisson process), so its variance is the sum of
the squares of what each prompt saved. Both are approximate. Early and late take the favourable and the
unfavourable ends of both at once, which errs wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from distill.bill.costs import EXPORT, TRAINING
from distill.bill.service import Period
from distill.bill.tree import Outlook, Payback
from evals.metrics.intervals import Floats
from evals.report.tree import Money
from stepdown.prices import rent_usd_micros

ONCE = (TRAINING, EXPORT)
DAY_S = 86400.0
PACE_DAYS = 7.0
LEAST_PACE_DAYS = 1.0
FARTHEST_DAYS = 36500.0


class Account(NamedTuple):
    """What a student cost and saved, by time.

    Attributes:
        costs: Rows `at`, `kind` and `usd_micros`, unknown prices left out.
        saved: Rows `at`, `usd_micros`, what strong would have cost for each answer, and `prompt_hash`.
        total: What all of `saved` comes to, with its interval.
        periods: When it was in service.
        usd_per_hour: Rent meanwhile; the task's part.
        at: The present.
    """

    costs: pd.DataFrame
    saved: pd.DataFrame
    total: Money
    periods: Sequence[Period]
    usd_per_hour: float
    at: datetime

    @property
    def serving(self) -> bool:
        """Whether it is in service now."""
        return bool(self.periods) and self.periods[-1].end == self.at

    def rent_until(self, at: datetime) -> float:
        """Its rent in micro-dollars until a time."""
        return rent_usd_micros(self.usd_per_hour, sum(period.until(at) for period in self.periods))


def pace_start(account: Account) -> datetime | None:
    """Since when the pace is taken; None where it is not in service, or not yet for a day."""
    if not account.serving:
        return None
    start = max(account.periods[-1].start, account.at - timedelta(days=PACE_DAYS))
    return start if (account.at - start).total_seconds() >= LEAST_PACE_DAYS * DAY_S else None


def pace(account: Account, start: datetime, recent: Money, confidence: float) -> Money:
    """What a student nets a day, its making aside.

    Args:
        account: All of it.
        start: Since when the pace is taken.
        recent: What strong would have cost for its answers since then.
        confidence: Of the interval.
    """
    days = (account.at - start).total_seconds() / DAY_S
    recurring = ~account.costs["kind"].isin(ONCE) & (account.costs["at"] >= start)
    rent = account.rent_until(account.at) - account.rent_until(start)
    running = float(account.costs.loc[recurring, "usd_micros"].sum()) + rent
    saved = account.saved[account.saved["at"] >= start]
    by_prompt = saved.groupby("prompt_hash")["usd_micros"].sum().to_numpy(dtype=float)
    chance = float(ndtri((1 + confidence) / 2)) * math.sqrt(float(np.square(by_prompt).sum()))
    value = recent.value - running
    low = value - math.hypot(recent.value - recent.low, chance)
    high = value + math.hypot(recent.high - recent.value, chance)
    return Money(round(value / days), round(low / days), round(high / days), len(saved))


def payback(account: Account, net: Money, per_day: Money | None) -> Payback:
    """When a student pays itself back.

    Args:
        account: What it cost and saved.
        net: What it saved less what it cost, until now.
        per_day: Its pace, or None where it has none.
    """
    paces = per_day[:3] if per_day else (None,) * 3
    scenarios = zip(_turning_days(account), net[:3], paces, strict=True)
    days = [_day(account.at, crossed, so_far, ahead) for crossed, so_far, ahead in scenarios]
    start = pace_start(account)
    pace_days = (account.at - start).total_seconds() / DAY_S if start is not None else None
    outlook = _outlook(account, net.value, per_day)
    if outlook in (Outlook.NOT_IN_SERVICE, Outlook.TAKEN_OUT):
        return Payback(outlook)
    return Payback(outlook, days[0], days[2], days[1], per_day, pace_days)


def _outlook(account: Account, net: int, per_day: Money | None) -> Outlook:
    if not account.periods and account.saved.empty:
        return Outlook.NOT_IN_SERVICE
    if net >= 0:
        return Outlook.IDLE if account.saved.empty else Outlook.PAID
    if not account.periods:
        return Outlook.NOT_IN_SERVICE
    if not account.serving:
        return Outlook.TAKEN_OUT
    if per_day is None:
        return Outlook.NO_PACE
    return Outlook.WILL if per_day.value > 0 else Outlook.NEVER


def _day(at: datetime, crossed: datetime | None, net: int, per_day: int | None) -> datetime | None:
    if net >= 0:
        return crossed
    if per_day is None or per_day <= 0 or -net / per_day > FARTHEST_DAYS:
        return None
    return at + timedelta(days=-net / per_day)


def _turning_days(account: Account) -> list[datetime | None]:
    """The day since which the net has been positive, at the value and at both ends of what was saved."""
    if account.saved.empty:
        return [None] * 3
    first, ends = _days(account)
    saved, paid = (_cumulated(frame, ends) for frame in (account.saved, account.costs))
    paid = paid + np.array([account.rent_until(end) for end in ends])
    value = max(account.total.value, 1)
    turned = [_turned(saved * (amount / value) - paid) for amount in account.total[:3]]
    return [None if place is None else first + timedelta(days=place) for place in turned]


def _days(account: Account) -> tuple[datetime, list[datetime]]:
    """The first day of the account, and the end of each until the present."""
    came = min(frame["at"].min() for frame in (account.saved, account.costs) if len(frame))
    first = came.to_pydatetime().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    count = max(1, math.ceil((account.at - first).total_seconds() / DAY_S))
    ends = [first + timedelta(days=place + 1) for place in range(count)]
    return first, [*ends[:-1], account.at]


def _cumulated(frame: pd.DataFrame, ends: Sequence[datetime]) -> Floats:
    ordered = frame.sort_values("at")
    sums = np.concatenate([[0.0], ordered["usd_micros"].to_numpy(dtype=float).cumsum()])
    times = np.array([time.timestamp() for time in ordered["at"]], dtype=float)
    return np.asarray(sums[np.searchsorted(times, [end.timestamp() for end in ends], side="left")])


def _turned(net: Floats) -> int | None:
    """The first of the days at the end of which, and of all after it, the net is not negative."""
    below = np.flatnonzero(net < -0.5)
    first = int(below[-1]) + 1 if below.size else 0
    return first if first < len(net) else None
