"""Cost-quality curves and the numbers read off them: PGR, APGR, CPT.

Definitions of RouteLLM (Ong et al. 2024, arXiv 2406.18665, section 3): with r(alpha) the quality when
a share alpha of the requests goes to the strong model,
PGR(alpha) = (r(alpha) - r_small) / (r_strong - r_small), APGR is its mean over alpha in [0, 1], and
CPT(x) is the smallest alpha at which PGR reaches x.

Invariant: the order of the input rows does not matter. Requests with equal scores are sent in random
order, of which the curve is the expectation: a straight line. So one constant score is the random
router, whose APGR is exactly 1/2. Scores are of any scale: higher means strong first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evals.metrics.intervals import DRAWS, Estimate, Floats, percentile_interval, resampled_weights


class Curve(NamedTuple):
    """Quality against the share of requests that strong answers; straight between the points.

    Both arrays have shape (..., points), shares ascending from 0 to 1 along the last axis.
    """

    strong_share: Floats
    quality: Floats


class Ranked(NamedTuple):
    """Outcomes in the order in which requests go to strong.

    Attributes:
        order: Rows, highest score first.
        starts: Where in `order` each run of equal scores starts.
    """

    order: np.ndarray[tuple[int], np.dtype[np.intp]]
    starts: np.ndarray[tuple[int], np.dtype[np.intp]]
    strong_good: Floats
    small_good: Floats


def ranked(scores: ArrayLike, strong_good: ArrayLike, small_good: ArrayLike) -> Ranked:
    """Sort outcomes by score.

    Raises:
        ValueError: The arrays are empty, differ in length, or a score is NaN.
    """
    values, strong, small = (np.asarray(x, dtype=float) for x in (scores, strong_good, small_good))
    if not values.size or not values.shape == strong.shape == small.shape:
        raise ValueError(
            f"a curve needs as many scores as outcomes, got {values.size}, {strong.size} and {small.size}"
        )
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} of {values.size} scores are NaN; rank only scored rows"
        )
    order = np.argsort(-values, kind="stable")
    falls = np.flatnonzero(np.diff(values[order])) + 1
    return Ranked(order, np.concatenate(([0], falls)), strong[order], small[order])


def weighted_curve(rows: Ranked, weights: Floats) -> Curve:
    """The curve of weighted rows; `weights` of shape (..., n) gives as many curves."""
    sorted_weights = weights[..., rows.order]
    total = sorted_weights.sum(axis=-1, keepdims=True)
    gains = sorted_weights * (rows.strong_good - rows.small_good)
    floor = (sorted_weights * rows.small_good).sum(axis=-1, keepdims=True) / total
    return Curve(
        _from_zero(np.add.reduceat(sorted_weights, rows.starts, axis=-1) / total),
        floor + _from_zero(np.add.reduceat(gains, rows.starts, axis=-1) / total),
    )


def cost_quality_curve(scores: ArrayLike, strong_good: ArrayLike, small_good: ArrayLike) -> Curve:
    """Expected quality as requests go to strong in order of falling score."""
    rows = ranked(scores, strong_good, small_good)
    return weighted_curve(rows, np.ones(rows.order.size))


def quality_at(curve: Curve, strong_share: float) -> Floats:
    """Quality at a share of strong, for each curve."""
    points = curve.quality.shape[-1]
    lines = zip(curve.strong_share.reshape(-1, points), curve.quality.reshape(-1, points), strict=True)
    values = [np.interp(strong_share, share, quality) for share, quality in lines]
    return np.asarray(values, dtype=float).reshape(curve.quality.shape[:-1])


def curve_pgr(curve: Curve) -> Floats:
    """PGR at the curve's points; NaN where strong is no better than small, and nothing can be recovered."""
    small, strong = curve.quality[..., :1], curve.quality[..., -1:]
    gap = strong - small
    return np.asarray((curve.quality - small) / np.where(gap > 1e-12, gap, np.nan))


def curve_apgr(curve: Curve) -> Floats:
    """Mean PGR over the share of strong, for each curve: the area by the trapezoid rule, which is exact."""
    return np.asarray(np.trapezoid(curve_pgr(curve), curve.strong_share, axis=-1))


def curve_cpt(curve: Curve, x: float) -> Floats:
    """Smallest share of strong at which PGR reaches `x` (in [0, 1]), for each curve."""
    if not 0 <= x <= 1:
        raise ValueError(f"x = {x!r} must lie between 0 and 1")
    pgr = curve_pgr(curve)
    reached = pgr >= x - 1e-12  # the last point is 1 but for rounding
    after = np.argmax(reached, axis=-1)[..., None]
    before = np.maximum(after - 1, 0)
    p0, p1 = np.take_along_axis(pgr, before, -1), np.take_along_axis(pgr, after, -1)
    s0, s1 = (np.take_along_axis(curve.strong_share, at, -1) for at in (before, after))
    rise = p1 - p0
    part = np.clip((x - p0) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
    share = np.where(after == 0, 0.0, s0 + part * (s1 - s0))[..., 0]
    return np.asarray(np.where(reached.any(axis=-1), share, np.nan))


def apgr(scores: ArrayLike, strong_good: ArrayLike, small_good: ArrayLike) -> float:
    """Average PGR over all shares of strong; 0.5 is random, NaN where strong is no better than small."""
    return float(curve_apgr(cost_quality_curve(scores, strong_good, small_good)))


def cpt(scores: ArrayLike, strong_good: ArrayLike, small_good: ArrayLike, x: float) -> float:
    """Smallest share of strong at which PGR reaches `x`, in [0, 1]."""
    return float(curve_cpt(cost_quality_curve(scores, strong_good, small_good), x))


def bootstrap_curve(
    statistics: Mapping[str, Callable[[Curve], Floats]],
    scores: ArrayLike,
    strong_good: ArrayLike,
    small_good: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Statistics of one curve, each with its percentile interval from resampling groups.

    Args:
        statistics: By name; each maps curves of shape (draws, points) to (draws,) values.
        scores: Higher means strong first.
        strong_good: Outcomes of strong in [0, 1].
        small_good: Outcomes of small in [0, 1].
        groups: Rows of one group are drawn together.
        draws: Number of resamples.
        seed: Of the generator.
        confidence: In (0, 1).
    """
    rows = ranked(scores, strong_good, small_good)
    n = rows.order.size
    values: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in resampled_weights(n, groups=groups, draws=draws, seed=seed):
        curves = weighted_curve(rows, weights)
        for name, statistic in statistics.items():
            values[name].append(statistic(curves))
    whole = weighted_curve(rows, np.ones(n))
    return {
        name: Estimate(
            float(statistic(whole)), *percentile_interval(np.concatenate(values[name]), confidence), n
        )
        for name, statistic in statistics.items()
    }


def curve_band(
    scores: ArrayLike,
    strong_good: ArrayLike,
    small_good: ArrayLike,
    shares: Floats,
    *,
    groups: ArrayLike | None = None,
    draws: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Low and high quality at each of `shares`, point by point, from resampling groups."""
    rows = ranked(scores, strong_good, small_good)
    lines = [
        np.interp(shares, share, quality)
        for weights in resampled_weights(rows.order.size, groups=groups, draws=draws, seed=seed)
        for share, quality in zip(*weighted_curve(rows, weights), strict=True)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(lines), [tail, 1 - tail], axis=0)
    return low, high


def _from_zero(steps: Floats) -> Floats:
    zero = np.zeros((*steps.shape[:-1], 1))
    return np.concatenate((zero, np.cumsum(steps, axis=-1)), axis=-1)
