"""Tests that may be looked at as often as one likes: e-processes by betting, for means of bounded values.

A bet on each observation, set before it is seen, against "its mean is at most m": where that is true no
bettor is expected to win, so a capital of 1 becomes 1/alpha at any time with probability at most alpha,
however often one looks and whenever one stops (Ville's inequality). The capital is the e-value. Source:
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024),
sections 4 and 5; the difference of two arms by inverse propensity, as in Waudby-Smith, Wu, Ramdas,
Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits" (2024), section 2.

Invariant: the bet and the range of an observation depend on earlier observations alone, so each e-process is
a nonnegative supermartingale under its hypothesis. Pure; computed in logarithms; the same values give the
same evidence.

The hypothesis is of each observation given those before it, so observations that depend on each other must
enter as one: average within the unit (`unit_means`, `difference_scores`). A unit that still grows, a
conversation under way, is averaged anew at each look; for those few units the guarantee is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evals.metrics.intervals import Estimate, Floats, Interval

FRACTIONS = np.geomspace(0.002, 0.9, 20)  # of the largest bet allowed; the capital is spread evenly over them
ROWS_AT_ONCE = 8192
TOLERANCE = 1e-4
SLACK = 1e-9


class EProcess(NamedTuple):
    """Evidence against a hypothesis as it grew.

    Attributes:
        log_e: Logarithm of the e-value after each observation. (n,)
    """

    log_e: Floats

    @property
    def now(self) -> float:
        """Logarithm of the e-value after the last observation; 0 before any."""
        return float(self.log_e[-1]) if self.log_e.size else 0.0

    @property
    def highest(self) -> float:
        """Logarithm of the highest e-value so far, which counts as well as the last one."""
        return max(0.0, float(self.log_e.max(initial=0.0)))


class Scores(NamedTuple):
    """Observations with the range that each was known to be in before it was seen. All (n,)."""

    values: Floats
    low: Floats
    high: Floats


class Units(NamedTuple):
    """Means of units in the order in which the units first appear.

    Attributes:
        means: Of each unit. (u,)
        first: The row at which it first appears. (u,)
        member: The unit of each row. (n,)
    """

    means: Floats
    first: NDArray[np.intp]
    member: NDArray[np.intp]

    def mean_of(self, column: Floats) -> Floats:
        """The units' means of another column of the same rows."""
        size = self.first.size
        return np.bincount(self.member, column, size) / np.bincount(self.member, minlength=size)


def e_above(values: ArrayLike, mean: float, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> EProcess:
    """Evidence that the mean is above `mean`: against E[x_t | past] <= mean for every t.

    Args:
        values: Observations in their order. (n,)
        mean: The hypothesis; above every `low`.
        low: Least possible value of each observation, known before it is seen.
        high: Largest possible value likewise.

    Raises:
        ValueError: A value is out of its range, or the mean is not above the lowest possible one.
    """
    x = np.asarray(values, dtype=np.float64)
    least = np.broadcast_to(np.asarray(low, dtype=np.float64), x.shape)
    most = np.broadcast_to(np.asarray(high, dtype=np.float64), x.shape)
    if not ((x >= least - SLACK) & (x <= most + SLACK)).all():
        raise ValueError("an observation is out of the range that was said of it")
    if not (least < mean).all():
        raise ValueError(f"mean = {mean!r} must lie above the least possible value, {least.max()!r}")
    return EProcess(_log_capital(np.maximum((x - mean) / (mean - least), -1.0)))


def e_below(values: ArrayLike, mean: float, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> EProcess:
    """Evidence that the mean is below `mean`: against E[x_t | past] >= mean; see `e_above`."""
    turned = [-np.asarray(array, dtype=np.float64) for array in (values, high, low)]
    return e_above(turned[0], -mean, low=turned[1], high=turned[2])


def _log_capital(returns: Floats) -> Floats:
    """Logarithm of the capital after each return on a full stake, which is -1 at worst."""
    found = np.empty(returns.size)
    carried = np.zeros(FRACTIONS.size)
    for start in range(0, returns.size, ROWS_AT_ONCE):
        chunk = returns[start : start + ROWS_AT_ONCE, None]
        grown = carried + np.cumsum(np.log1p(FRACTIONS * chunk), axis=0)
        highest = grown.max(axis=1, keepdims=True)
        found[start : start + chunk.size] = highest[:, 0] + np.log(np.exp(grown - highest).mean(axis=1))
        carried = grown[-1]
    return found


def confidence_sequence(
    scores: Scores, *, alpha: float, within: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """The means that neither side's evidence has refuted so far, each at alpha / 2.

    It holds the mean at all times at once with probability at least 1 - alpha.

    Args:
        scores: Observations with their ranges.
        alpha: In (0, 1).
        within: Where the mean is known to lie.
    """
    least, most = within
    needed = math.log(2 / alpha)
    x, low, high = scores
    # The capital that is bet on "above m" falls as m grows, so what it refutes is all below one number.
    lower = _last(lambda m: e_above(x, m, low=low, high=high).highest >= needed, least, most)
    upper = -_last(lambda m: e_below(x, -m, low=low, high=high).highest >= needed, -most, -least)
    return Interval(lower, max(lower, upper))


def _last(refuted: Callable[[float], bool], start: float, stop: float) -> float:
    """The largest number up to which everything is refuted, by bisection, rounded outwards."""
    while stop - start > TOLERANCE:
        middle = (start + stop) / 2
        if refuted(middle):
            start = middle
        else:
            stop = middle
    return start


def difference_scores(
    outcomes: ArrayLike, treated: ArrayLike, share: ArrayLike, groups: Sequence[str] | None = None
) -> Scores:
    """Observations whose mean is the difference of two arms' outcomes, treated less control.

    z = (y - c) (a / s - (1 - a) / (1 - s)): over the draw of the arm its mean is y(1) - y(0), whatever c is,
    as long as c was known before. c is the mean outcome so far, of both arms, which keeps z small.

    Args:
        outcomes: In [0, 1], of units that were drawn into an arm each on its own, in their order. (n,)
        treated: Whether the unit was drawn into the treated arm.
        share: Probability in (0, 1) with which it was.
        groups: Units of one group, duplicates of a prompt, depend on each other, and are averaged into one
            observation, which stands where the first of them stood; None makes each its own.
    """
    y = np.asarray(outcomes, dtype=np.float64)
    drawn = np.asarray(treated, dtype=bool)
    s = np.broadcast_to(np.asarray(share, dtype=np.float64), y.shape)
    if not ((s > 0) & (s < 1)).all():
        raise ValueError("a share must lie between 0 and 1, both excluded")
    units = unit_means(y, np.arange(y.size) if groups is None else groups)
    seen = np.concatenate([[0.0], np.cumsum(units.means)])[:-1]
    centre = ((0.5 + seen) / (1 + np.arange(seen.size)))[units.member]
    z = (y - centre) * np.where(drawn, 1 / s, -1 / (1 - s))
    low = -np.maximum(centre / s, (1 - centre) / (1 - s))
    high = np.maximum((1 - centre) / s, centre / (1 - s))
    return Scores(*(units.mean_of(column) for column in (z, low, high)))


def difference(scores: Scores, *, alpha: float) -> Estimate:
    """The difference of two arms with its confidence sequence; `scores` are those of `difference_scores`."""
    n = scores.values.size
    if not n:
        return Estimate(math.nan, -1.0, 1.0, 0)
    low, high = confidence_sequence(scores, alpha=alpha, within=(-1.0, 1.0))
    return Estimate(min(1.0, max(-1.0, float(scores.values.mean()))), low, high, n)


def unit_means(values: ArrayLike, units: ArrayLike | Sequence[str]) -> Units:
    """The mean of each unit's rows, in the order in which the units first appear."""
    rows = np.asarray(values, dtype=np.float64)
    _, first, member = np.unique(np.asarray(units), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    found = Units(np.empty(0), first[order], place[member])
    return found._replace(means=found.mean_of(rows))
