"""The watches over a student: what speaks against it, as evidence that may be looked at at any time.

Invariant: a watch's alarm is false with probability at most alpha over the whole of what it watches, however
often it is looked at, where what was seen at a look is still the beginning of what is seen at the next. So
calls are. Labels are not: one that comes late stands where its request came, before others that were there,
so for the watches of labels, regret and loss of quality, alpha is approximate. Pure: observations in, watches
out.

Failures and latencies are of servers, and count by conversation or request. Answers are of prompts: they
count by conversation, or else by prompt, so that one prompt asked a thousand times is one observation.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from evals.metrics.intervals import Floats
from evals.metrics.sequential import e_above, unit_means

ALARM_BELOW = 1e12  # e-values are shown up to this one
SLOW = 0.05
REFERENCE = 1000
LEAST_REFERENCE = 20


class Series(NamedTuple):
    """Observations in [0, 1], in their order, and the unit of each."""

    values: Sequence[float] | Floats = ()
    units: Sequence[str] = ()


class Timed(NamedTuple):
    """A whole answer: when it was asked for, how long it took, and the unit it counts with."""

    at: float
    latency_ms: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """Evidence that a rate is above its limit.

    Attributes:
        name: What is watched.
        n: Units seen.
        rate: Their mean, NaN where there are none.
        limit: Highest rate allowed.
        log_e: Logarithm of the highest e-value so far.
        alpha: The alarm goes off at 1 / alpha.
        note: What else a reader must know.
    """

    name: str
    n: int
    rate: float
    limit: float
    log_e: float
    alpha: float
    note: str = ""

    @property
    def alarm(self) -> bool:
        """Whether it goes off."""
        return self.log_e >= -math.log(self.alpha)

    def __str__(self) -> str:
        """The watch in words."""
        if not self.n:
            return f"{self.name}: nothing seen{self.note and f' ({self.note})'}"
        shown = f"{self.name} {self.rate:.1%} of {self.n:,}, limit {self.limit:.1%}"
        return (
            f"{shown}, e-value {shown_e(self.log_e)} of {1 / self.alpha:.3g}{self.note and f' ({self.note})'}"
        )

    def numbers(self) -> dict[str, Any]:
        """The watch as JSON values."""
        return {
            "name": self.name,
            "n": self.n,
            "rate": None if math.isnan(self.rate) else self.rate,
            "limit": self.limit,
            "e_value": e_value(self.log_e),
            "alarm_at": 1 / self.alpha,
            "alarm": self.alarm,
            **({"note": self.note} if self.note else {}),
        }


def e_value(log_e: float) -> float:
    """An e-value as a finite number."""
    return math.exp(min(log_e, math.log(ALARM_BELOW)))


def shown_e(log_e: float) -> str:
    """An e-value in words."""
    return f"{e_value(log_e):.3g}" if log_e < math.log(ALARM_BELOW) else f"above {ALARM_BELOW:.0e}"


def rate_watch(name: str, series: Series, limit: float, alpha: float, note: str = "") -> Watch:
    """Whether a rate is above its limit: evidence against E[unit's mean | past] <= limit."""
    means = unit_means(np.asarray(series.values, dtype=float), list(series.units)).means
    rate = float(means.mean()) if means.size else math.nan
    return Watch(name, means.size, rate, limit, e_above(means, limit).highest, alpha, note)


@dataclass(slots=True)
class _Reference:
    """The newest latencies of the other model's answers, sorted."""

    newest: deque[float] = field(default_factory=deque)
    ordered: list[float] = field(default_factory=list)

    def add(self, latency_ms: float) -> None:
        self.newest.append(latency_ms)
        insort(self.ordered, latency_ms)
        if len(self.newest) > REFERENCE:
            del self.ordered[bisect_left(self.ordered, self.newest.popleft())]

    def p95(self) -> float | None:
        """The smallest latency that 95 % are not above; None of too few."""
        if len(self.ordered) < LEAST_REFERENCE:
            return None
        return self.ordered[math.ceil((1 - SLOW) * len(self.ordered)) - 1]


def latency_watch(answers: Sequence[Timed], reference: Sequence[Timed], ratio: float, alpha: float) -> Watch:
    """Whether too many answers are slow: evidence against P(slow | past) <= 5 %.

    An answer is slow where it took longer than `ratio` times the 95th percentile of the newest 1,000 whole
    answers of the model before that were asked for before it; so the limit was known before the answer, and
    moves with the load. While there are fewer than 20 of those it is not counted.
    """
    seen, waiting = _Reference(), deque(sorted(reference))
    values, units, limit_ms = [], [], math.nan
    for answer in sorted(answers):
        while waiting and waiting[0].at < answer.at:
            seen.add(waiting.popleft().latency_ms)
        p95 = seen.p95()
        if p95 is not None:
            limit_ms = ratio * p95
            values.append(float(answer.latency_ms > limit_ms))
            units.append(answer.unit)
    note = f"slower than {limit_ms:,.0f} ms" if values else "too few answers of the model before"
    return rate_watch("slow answers", Series(values, units), SLOW, alpha, note)
