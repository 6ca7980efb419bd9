"""How far a labeller agrees with the truth, and labellers with one another: shares, confusion, kappa, alpha.

Invariant: every estimate carries its interval and its n; where it is not defined (no rows; both sides
always say the same one thing) the value is NaN and the interval all that is possible. Labels are binary:
true is good. Pure: it does not know who labels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from evals.metrics.intervals import (
    Estimate,
    Floats,
    effective_size,
    mean_outcome,
    percentile_interval,
    resampled_weights,
)

Bools = NDArray[np.bool_]
UNDEFINED = Estimate(math.nan, -1.0, 1.0, 0)
LEAST_RESAMPLED = 10


class Confusion(NamedTuple):
    """What a labeller said of good and of bad answers, in counts."""

    good_as_good: int
    good_as_bad: int
    bad_as_good: int
    bad_as_bad: int

    @property
    def n(self) -> int:
        """All rows."""
        return sum(self)


class Agreement(NamedTuple):
    """A labeller beside the truth.

    Attributes:
        share: Rows on which both say the same; exact interval.
        kappa: Cohen's; approximate interval.
        sensitivity: Good answers that the labeller calls good; exact interval.
        specificity: Bad answers that the labeller calls bad; exact interval.
    """

    confusion: Confusion
    share: Estimate
    kappa: Estimate
    sensitivity: Estimate
    specificity: Estimate


def agreement(
    truth: ArrayLike, said: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> Agreement:
    """All of a labeller's errors.

    Args:
        truth: Whether each row is good. (n,)
        said: Whether the labeller called it good. (n,)
        groups: Rows of one group count as one trial.
        confidence: In (0, 1).
    """
    a, b = _bools(truth), _bools(said)
    if a.shape != b.shape:
        raise ValueError(f"{a.size} rows of truth and {b.size} of the labeller: there must be as many")
    names = np.arange(len(a)) if groups is None else np.asarray(groups)

    def share(rows: Bools, of: Bools) -> Estimate:
        return mean_outcome(of[rows], groups=names[rows], confidence=confidence)

    every = np.ones(len(a), dtype=np.bool_)
    return Agreement(
        confusion=confusion(a, b),
        share=share(every, a == b),
        kappa=kappa(a, b, groups=names, confidence=confidence),
        sensitivity=share(a, b),
        specificity=share(~a, ~b),
    )


def confusion(truth: ArrayLike, said: ArrayLike) -> Confusion:
    """The counts of the four cases."""
    a, b = _bools(truth), _bools(said)
    cells = ((a & b), (a & ~b), (~a & b), (~a & ~b))
    return Confusion(*(int(cell.sum()) for cell in cells))


def kappa(
    a: ArrayLike, b: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Cohen's kappa (1960) of two labellers, with the interval of Fleiss, Cohen and Everitt (1969).

    Their large-sample variance is taken from the table with half a row added to each of its four cells,
    so that it is not zero where the two never differ; the interval is approximate. NaN where neither
    side ever varies and they agree: there is no agreement beyond chance to speak of.
    """
    first, second = _bools(a), _bools(b)
    if not first.size:
        return UNDEFINED
    counts = np.array(confusion(first, second), dtype=np.float64).reshape(2, 2)
    size = effective_size(groups) if groups is not None else counts.sum()
    value = _kappa(counts / counts.sum())
    if math.isnan(value):
        return UNDEFINED._replace(n=first.size)
    smoothed = counts * size / counts.sum() + 0.5
    half = float(ndtri((1 + confidence) / 2)) * _standard_error(smoothed)
    centre = _kappa(smoothed / smoothed.sum())
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(value, min(low, value), max(high, value), first.size)


def krippendorff_alpha(
    good: ArrayLike, labelled: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Krippendorff's alpha (2011) of any number of people, nominal labels, some missing.

    Args:
        good: Of each subject, how many people called it good. (n,)
        labelled: How many labelled it; subjects with fewer than two say nothing of agreement. (n,)
        groups: Subjects that are resampled together; the interval is a percentile bootstrap, and all that is
            possible where there are fewer than `LEAST_RESAMPLED` of them.
        confidence: In (0, 1).

    Returns:
        The alpha; its n are the subjects labelled by at least two.
    """
    g, m = np.asarray(good, dtype=np.float64), np.asarray(labelled, dtype=np.float64)
    usable = m >= 2
    g, m = g[usable], m[usable]
    if not g.size:
        return UNDEFINED
    disagreement = 2 * g * (m - g) / (m - 1)

    def alpha(weights: Floats) -> Floats:
        values, goods = weights @ m, weights @ g
        expected = 2 * goods * (values - goods)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = 1 - (weights @ disagreement) * (values - 1) / expected
        return np.where(expected > 0, found, np.nan)

    value = float(alpha(np.ones(len(g))))
    if math.isnan(value):
        return UNDEFINED._replace(n=len(g))
    names = np.arange(len(g)) if groups is None else np.asarray(groups)[usable]
    if len(np.unique(names)) < LEAST_RESAMPLED:
        return Estimate(value, -1.0, 1.0, len(g))
    draws = np.concatenate([alpha(chunk) for chunk in resampled_weights(len(g), groups=names)])
    low, high = percentile_interval(draws, confidence)
    return Estimate(value, max(-1.0, low), min(1.0, high), len(g))


def _kappa(p: Floats) -> float:
    by_chance = float(p.sum(axis=1) @ p.sum(axis=0))
    return math.nan if by_chance >= 1.0 else (float(np.trace(p)) - by_chance) / (1 - by_chance)


def _standard_error(counts: Floats) -> float:
    """Fleiss, Cohen and Everitt (1969), equation 13."""
    n = counts.sum()
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    value, by_chance = _kappa(p), float(rows @ columns)
    agreeing = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in (0, 1))
    differing = sum(p[i, 1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in (0, 1))
    spread = agreeing + (1 - value) ** 2 * differing - (value - by_chance * (1 - value)) ** 2
    return math.sqrt(max(0.0, float(spread)) / n) / (1 - by_chance)


def _bools(labels: ArrayLike) -> Bools:
    return np.asarray(labels).astype(np.bool_)
