"""Quantiles of times, with intervals that assume nothing of how times are distributed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrik

from evals.metrics.intervals import Estimate


def quantile(values: ArrayLike, share: float, confidence: float = 0.95) -> Estimate:
    """A quantile with the interval between two order statistics (David and Nagaraja, 2003, section 7.1).

    Exact for independent values: it covers with at least the confidence. Where the values are too few for
    an end, that end is infinite.

    Args:
        values: The times.
        share: In (0, 1); 0.5 is the median.
        confidence: In (0, 1).
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = ordered.size
    if not n:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    tail = (1 - confidence) / 2
    below, above = _largest_k(tail, n, share), _largest_k(1 - tail, n, share)
    low = float(ordered[below]) if below >= 0 else -math.inf
    high = float(ordered[above + 1]) if above + 1 < n else math.inf
    value = float(np.quantile(ordered, share, method="higher"))
    return Estimate(value, low, high, n)


def _largest_k(probability: float, n: int, share: float) -> int:
    """The largest k for which P(Binomial(n, share) <= k) <= probability, or -1."""
    found = float(bdtrik(probability, n, share)) if probability >= (1 - share) ** n else -1.0
    return -1 if math.isnan(found) else math.floor(found)
