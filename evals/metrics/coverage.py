"""How often intervals hold the truth when a judge is wrong in one direction: a simulation. Pure.

Invariant: the intervals are made by the very functions that estimate from a ledger, so what is measured
here is what is used. The judge is wrong on `wrong` of all answers, always in one direction: a harsh one
calls good answers bad, a lenient one bad answers good (all the bad ones, where they are fewer than that).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from evals.metrics.intervals import Floats, clopper_pearson
from evals.metrics.ppi import SHARE, Moments, Sizes, powered_interval

TRUSTED = (50, 100, 200)
RATES = (0.6, 0.8, 0.9, 0.95)
WRONG = 0.2
JUDGED = 2000
DRAWS = 10_000


class Judge(enum.StrEnum):
    """In which direction the judge is wrong."""

    HARSH = "harsh"
    LENIENT = "lenient"


class Coverage(NamedTuple):
    """Share of draws whose 95 % interval holds the true rate, and the mean widths.

    Attributes:
        rate: True share of good answers.
        trusted: Trusted labels in each draw.
        naive: Of the interval that takes judged labels for true ones, beside the trusted.
        alone: Of Clopper and Pearson's interval of the trusted labels alone.
        powered: Of the prediction-powered interval.
        alone_width: Mean width; likewise `powered_width`.
    """

    judge: Judge
    rate: float
    trusted: int
    naive: float
    alone: float
    powered: float
    alone_width: float
    powered_width: float


def coverage_table(
    *,
    trusted: Sequence[int] = TRUSTED,
    rates: Sequence[float] = RATES,
    wrong: float = WRONG,
    judged: int = JUDGED,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Coverage]:
    """One line for each judge, true rate and number of trusted labels; the same seed gives the same table."""
    generator = np.random.default_rng(seed)
    return [
        _covered(generator, Setting(judge, rate, n, wrong, judged), draws, confidence)
        for judge in Judge
        for rate in rates
        for n in trusted
    ]


class Setting(NamedTuple):
    """One line of the table, to be simulated."""

    judge: Judge
    rate: float
    trusted: int
    wrong: float
    judged: int

    @property
    def cells(self) -> Floats:
        """Probabilities of (good, judged good), (good, judged bad), (bad, judged good), (bad, judged bad)."""
        if self.judge is Judge.HARSH:
            missed = min(self.wrong, self.rate)
            return np.array([self.rate - missed, missed, 0.0, 1 - self.rate])
        passed = min(self.wrong, 1 - self.rate)
        return np.array([self.rate, 0.0, passed, 1 - self.rate - passed])


def _covered(generator: np.random.Generator, setting: Setting, draws: int, confidence: float) -> Coverage:
    n, pool, cells = setting.trusted, setting.judged, setting.cells
    both, missed, passed, _ = generator.multinomial(n, cells, size=draws).T
    judged_good = generator.binomial(pool, cells[0] + cells[2], size=draws)
    good, f, pooled = (both + missed) / n, (both + passed) / n, judged_good / pool
    moments = Moments(good, f, good, both / n, f, pooled, pooled)
    found = powered_interval(moments, Sizes(n, pool), SHARE, confidence)
    alone = _exact(both + missed, n, confidence)
    naive = _exact(both + missed + judged_good, n + pool, confidence)
    return Coverage(
        setting.judge,
        setting.rate,
        n,
        naive=_held(naive, setting.rate),
        alone=_held(alone, setting.rate),
        powered=_held((found.low, found.high), setting.rate),
        alone_width=float((alone[1] - alone[0]).mean()),
        powered_width=float((found.high - found.low).mean()),
    )


def _exact(successes: Floats, n: int, confidence: float) -> tuple[Floats, Floats]:
    """Clopper and Pearson's interval of each draw; each count is computed once."""
    counts, place = np.unique(successes, return_inverse=True)
    ends = np.array([clopper_pearson(float(k), n, confidence) for k in counts])
    return ends[place, 0], ends[place, 1]


def _held(ends: tuple[Floats, Floats], rate: float) -> float:
    return float(((ends[0] <= rate) & (rate <= ends[1])).mean())


def coverage_text(table: Iterable[Coverage]) -> list[str]:
    """The table as lines, each coverage in percent."""
    lines = [
        f"{'judge':<8} {'good':>5} {'trusted':>8} {'naive':>8} {'trusted alone (width)':>23} "
        f"{'prediction-powered (width)':>28}"
    ]
    for row in table:
        alone = f"{row.alone:.1%} ({100 * row.alone_width:.1f})"
        powered = f"{row.powered:.1%} ({100 * row.powered_width:.1f})"
        lines.append(
            f"{row.judge:<8} {row.rate:>5.0%} {row.trusted:>8} {row.naive:>8.1%} {alone:>23} {powered:>28}"
        )
    return lines
