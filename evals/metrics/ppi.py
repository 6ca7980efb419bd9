"""Prediction-powered estimates: a few trusted labels correct many judged ones. Pure.

Source: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference (Science 382:669,
2023); its weight on the judge is tuned as in PPI++ (Angelopoulos, Duchi and Zrnic, arXiv 2311.01453, 2023):
a judge that says nothing of the truth gets no weight, and one that is often wrong in one direction costs
width and never validity.

Assumes that the trusted rows are a random draw from the same stream as the judged ones.

The published interval is normal, and covers too seldom where labels are few or nearly all alike. Here the
variance and the middle are those of the sample with pseudo-rows added, one at each corner of (truth,
judgement), which is what Agresti and Coull (1998) do for a proportion and, at half the weight, Agresti and
Min (2005) for a paired difference; the quantile is Student's. `evals.metrics.coverage` measures how often
that holds the truth. With fewer than `LEAST_TRUSTED` independent rows the judged labels are left aside.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from evals.metrics.intervals import Estimate, Floats, effective_size, mean_outcome, paired_difference

LEAST_TRUSTED = 30
POWERED = "prediction-powered, approximate"
ALONE = "trusted labels alone, exact"
ALONE_PAIRED = "trusted labels alone, approximate"


class Powered(NamedTuple):
    """An estimate from trusted and judged labels.

    Attributes:
        estimate: `n` is the number of trusted rows.
        judged: Rows that only have a judgement.
        weight: Weight on the judgements, 0 to 1.
        method: How the interval was made, in words.
    """

    estimate: Estimate
    judged: int
    weight: float
    method: str


class Span(NamedTuple):
    """Where values lie, and the weight of a pseudo-row at each corner."""

    low: float
    high: float
    corner: float


SHARE = Span(0.0, 1.0, 1.0)
DIFFERENCE = Span(-1.0, 1.0, 0.5)


class Moments(NamedTuple):
    """Means over the trusted rows, of truth y and judgement f, and over the judged rows, of f.

    Each is a number, or an array of as many draws as a simulation makes.
    """

    y: Any
    f: Any
    yy: Any
    yf: Any
    ff: Any
    judged_f: Any
    judged_ff: Any


class Sizes(NamedTuple):
    """Independent trusted and judged rows, and the part of the variance's covariance that they share.

    Attributes:
        shared: Sum over groups of (share of the trusted rows) x (share of the judged rows).
    """

    trusted: float
    judged: float
    shared: float = 0.0


class PoweredInterval(NamedTuple):
    """Value, ends and the weight on the judgements; arrays where the moments are."""

    value: Any
    low: Any
    high: Any
    weight: Any


def powered_mean(
    truth: ArrayLike,
    judged_too: ArrayLike,
    judged_only: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    judged_groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Powered:
    """The mean of the truth, from few rows with it and many with a judgement only.

    Args:
        truth: In [0, 1], of a random draw of rows. (n,)
        judged_too: Judgements of the same rows, in [0, 1]. (n,)
        judged_only: Judgements of further rows. (N,)
        groups: Rows of one group count as one; likewise `judged_groups`, by the same names.
        judged_groups: Of the judged rows. (N,)
        confidence: In (0, 1).
    """
    y, f, pool = (_within(values, SHARE) for values in (truth, judged_too, judged_only))
    _paired(y, f)
    sizes = _sizes(len(y), len(pool), groups, judged_groups)
    if sizes.trusted < LEAST_TRUSTED or not len(pool):
        return Powered(mean_outcome(y, groups=groups, confidence=confidence), len(pool), 0.0, ALONE)
    return _powered(y, f, pool, sizes, SHARE, confidence)


def powered_difference(
    truth: tuple[ArrayLike, ArrayLike],
    judged_too: tuple[ArrayLike, ArrayLike],
    judged_only: tuple[ArrayLike, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    judged_groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Powered:
    """The mean of `a - b` for two models on the same requests; each argument is (of a, of b).

    See `powered_mean`.
    """
    (a, b), (fa, fb), (ja, jb) = (
        tuple(_within(values, SHARE) for values in both) for both in (truth, judged_too, judged_only)
    )
    _paired(a, b)
    _paired(a, fa)
    sizes = _sizes(len(a), len(ja), groups, judged_groups)
    if sizes.trusted < LEAST_TRUSTED or not len(ja):
        alone = paired_difference(a, b, confidence, groups=groups)
        return Powered(alone, len(ja), 0.0, ALONE_PAIRED)
    return _powered(a - b, fa - fb, ja - jb, sizes, DIFFERENCE, confidence)


def powered_interval(moments: Moments, sizes: Sizes, span: Span, confidence: float) -> PoweredInterval:
    """The estimate from moments alone; works on arrays of draws as on one.

    The value is the unbiased one, drawn into the interval where that leaves the value out.
    """
    n, pool = sizes.trusted, sizes.judged
    m = _with_corners(moments, n, span)
    rows = n + 4 * span.corner
    var_y, var_f = m.yy - m.y**2, m.ff - m.f**2
    covariance = m.yf - m.y * m.f
    weight = np.clip(covariance / (var_f * (1 + n / pool)), 0.0, 1.0)
    variance = (var_y - 2 * weight * covariance + weight**2 * var_f) / rows
    variance += weight**2 * (moments.judged_ff - moments.judged_f**2) / pool
    variance += 2 * weight * sizes.shared * np.maximum(0.0, covariance - weight * var_f)
    middle = m.y + weight * (moments.judged_f - m.f)
    half = stdtrit(n - 1, (1 + confidence) / 2) * np.sqrt(variance)
    low, high = (np.clip(end, span.low, span.high) for end in (middle - half, middle + half))
    value = np.clip(moments.y + weight * (moments.judged_f - moments.f), low, high)
    return PoweredInterval(value, low, high, weight)


def _with_corners(m: Moments, n: float, span: Span) -> Moments:
    """The trusted rows' moments with a pseudo-row at each of the four corners."""
    low, high, w = span
    rows = n + 4 * w

    def mixed(mean: Any, of_corners: float) -> Any:
        return (n * mean + w * of_corners) / rows

    once, squares = 2 * (low + high), 2 * (low**2 + high**2)
    return m._replace(
        y=mixed(m.y, once),
        f=mixed(m.f, once),
        yy=mixed(m.yy, squares),
        yf=mixed(m.yf, (low + high) ** 2),
        ff=mixed(m.ff, squares),
    )


def _powered(y: Floats, f: Floats, pool: Floats, sizes: Sizes, span: Span, confidence: float) -> Powered:
    moments = Moments(
        y.mean(), f.mean(), (y * y).mean(), (y * f).mean(), (f * f).mean(), pool.mean(), (pool * pool).mean()
    )
    found = powered_interval(moments, sizes, span, confidence)
    estimate = Estimate(float(found.value), float(found.low), float(found.high), len(y))
    return Powered(estimate, len(pool), float(found.weight), POWERED)


def _sizes(n: int, pool: int, groups: ArrayLike | None, judged_groups: ArrayLike | None) -> Sizes:
    if groups is None or judged_groups is None:
        return Sizes(n, pool)
    ours, theirs = Counter(np.asarray(groups).tolist()), Counter(np.asarray(judged_groups).tolist())
    both = sum(count * theirs[group] for group, count in ours.items() if group in theirs)
    shared = both / (n * pool) if n and pool else 0.0
    return Sizes(effective_size(groups), effective_size(judged_groups), shared)


def _within(values: ArrayLike, span: Span) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.size and not (array.min() >= span.low and array.max() <= span.high):
        raise ValueError(f"values must lie between {span.low} and {span.high}, got {array!r:.200}")
    return array


def _paired(a: Floats, b: Floats) -> None:
    if a.shape != b.shape:
        raise ValueError(f"{a.size} values and {b.size} of the same rows: there must be as many")
