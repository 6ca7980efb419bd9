"""Estimates with their intervals: proportions, paired differences, and the bootstrap by groups.

Invariant: an estimate never comes without its interval and its n; with no data the value is NaN and
the interval is all that is possible. Rows that share a group (the same prompt asked twice) never count
as independent evidence. The module does not know what the outcomes mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

Floats = NDArray[np.float64]
DRAWS = 2000
CHUNK_CELLS = 4_000_000


class Interval(NamedTuple):
    """Two ends of a confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A value, its confidence interval, and the number of rows it was computed from."""

    value: float
    low: float
    high: float
    n: int


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> Interval:
    """The exact two-sided interval of a binomial proportion (Clopper and Pearson, 1934).

    Args:
        k: Successes, 0 to n. A fraction is allowed where `n` is an effective number of trials.
        n: Trials; 0 gives the interval (0, 1).
        confidence: In (0, 1).
    """
    if not 0 <= k <= n:
        raise ValueError(f"k = {k!r} must lie between 0 and n = {n!r}")
    tail = _tail(confidence)
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return Interval(low, high)


def proportion(k: int, n: int, confidence: float = 0.95) -> Estimate:
    """A binomial proportion with its exact interval."""
    low, high = clopper_pearson(k, n, confidence)
    return Estimate(k / n if n else math.nan, low, high, n)


def effective_size(groups: ArrayLike) -> float:
    """Number of independent rows that the groups are worth (Kish, 1965).

    Assumes the worst: rows of one group are copies of each other. With groups of one row it is n.
    """
    sizes = np.unique(np.asarray(groups), return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.size else 0.0


def mean_outcome(
    outcomes: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """The mean of outcomes in [0, 1], with Clopper and Pearson's interval at the effective size.

    Exact for binary outcomes of distinct prompts, and on the safe side for graded ones, whose variance
    is less than that of binary outcomes with the same mean.
    """
    values = _unit(outcomes)
    if not values.size:
        return proportion(0, 0, confidence)
    size = effective_size(groups) if groups is not None else float(values.size)
    mean = float(values.mean())
    low, high = clopper_pearson(min(mean * size, size), size, confidence)
    return Estimate(mean, low, high, values.size)


def paired_difference(
    a: ArrayLike, b: ArrayLike, confidence: float = 0.95, *, groups: ArrayLike | None = None
) -> Estimate:
    """Mean of `a - b` for outcomes of two models on the same requests.

    The interval is method 10 of Newcombe (1998, Statistics in Medicine 17:2635-2650): Wilson's score
    intervals of both proportions, joined through their correlation. It is approximate, keeps its
    coverage in small samples and near 0 and 1, and is not degenerate where all pairs agree. Outcomes
    between 0 and 1 are allowed: their variance is at most the binary one, so it errs wide.

    Args:
        a: Outcomes in [0, 1].
        b: Outcomes in [0, 1] of the same requests.
        confidence: In (0, 1).
        groups: Rows of one group count as one trial, by the effective size.
    """
    first, second = _unit(a), _unit(b)
    if first.shape != second.shape:
        raise ValueError(f"a has {first.size} outcomes and b has {second.size}; pairs need as many")
    if not first.size:
        return Estimate(math.nan, -1.0, 1.0, 0)
    size = effective_size(groups) if groups is not None else float(first.size)
    p, q = float(first.mean()), float(second.mean())
    phi = _correlation(float((first * second).mean()), p, q, size)
    (low_p, high_p), (low_q, high_q) = _wilson(p, size, confidence), _wilson(q, size, confidence)
    down = _joined(p - low_p, high_q - q, phi)
    up = _joined(high_p - p, q - low_q, phi)
    return Estimate(p - q, max(-1.0, p - q - down), min(1.0, p - q + up), first.size)


def bootstrap(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """A statistic of rows, with its percentile interval from resampling whole groups of rows.

    Args:
        statistic: Called with the arrays, each with rows drawn with replacement.
        arrays: Arrays of the same length.
        groups: The group of each row; None makes each row its own.
        draws: Number of resamples.
        seed: Of the generator; the same seed gives the same interval.
        confidence: In (0, 1).
    """
    columns = [np.asarray(array) for array in arrays]
    n = len(columns[0])
    rows = np.arange(n)
    values = [
        statistic(*(column[drawn] for column in columns))
        for chunk in resampled_weights(n, groups=groups, draws=draws, seed=seed)
        for drawn in (np.repeat(rows, weights.astype(int)) for weights in chunk)
    ]
    low, high = percentile_interval(np.asarray(values, dtype=float), confidence)
    return Estimate(float(statistic(*columns)), low, high, n)


def resampled_weights(
    n: int, *, groups: ArrayLike | None = None, draws: int = DRAWS, seed: int = 0
) -> Iterator[Floats]:
    """How often each row is drawn in each resample, in chunks of shape (some draws, n).

    A statistic that takes weights is computed for a whole chunk at once, which is how curves over
    thousands of rows are bootstrapped in a second.
    """
    _, member = np.unique(np.arange(n) if groups is None else np.asarray(groups), return_inverse=True)
    count = int(member.max()) + 1 if n else 0
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // max(n, 1))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        picks = generator.integers(0, max(count, 1), size=(size, count))
        offsets = np.arange(size)[:, None] * count
        drawn = np.bincount((picks + offsets).ravel(), minlength=size * count).reshape(size, count)
        yield drawn[:, member].astype(float)


def percentile_interval(values: Floats, confidence: float = 0.95) -> Interval:
    """The interval that holds the middle `confidence` of bootstrap values.

    A resample in which the statistic is undefined (NaN) says nothing for either end, so it counts
    against both: as minus infinity for the low end and as plus infinity for the high one.
    """
    tail = _tail(confidence)
    undefined = np.isnan(values)
    low = np.quantile(np.where(undefined, -np.inf, values), tail, method="lower")
    high = np.quantile(np.where(undefined, np.inf, values), 1 - tail, method="higher")
    return Interval(float(low), float(high))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence!r} must lie between 0 and 1")
    return (1 - confidence) / 2


def _unit(outcomes: ArrayLike) -> Floats:
    values: Any = np.asarray(outcomes, dtype=float)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"outcomes must lie between 0 and 1, got {values.min()!r} to {values.max()!r}")
    return np.asarray(values, dtype=np.float64)


def _wilson(p: float, n: float, confidence: float) -> Interval:
    z = float(ndtri(1 - _tail(confidence)))
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def _correlation(both: float, p: float, q: float, n: float) -> float:
    """Newcombe's phi: the correlation, drawn towards 0 where it is positive and could be chance."""
    scale = math.sqrt(p * (1 - p) * q * (1 - q))
    if scale == 0:
        return 0.0
    covariance = both - p * q
    if covariance > 0:
        covariance = max(0.0, covariance - 1 / (2 * n))
    return max(-1.0, min(1.0, covariance / scale))


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))
