"""Times counted in fixed buckets, from which quantiles are read.

Invariant: the bounds never change, or counts of different days could not be added. They grow by a quarter of
a doubling from 1 ms to 623 s, so a quantile is off by less than 19 % of itself, unless it is below 1 ms or
above the last bound. Pure; counts that end in zeros may leave these out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest

PER_DOUBLING = 4
RATIO = 2 ** (1 / PER_DOUBLING)
BOUNDS = tuple(2 ** (step / PER_DOUBLING) for step in range(78))
BUCKETS = len(BOUNDS) + 1


def bucket_of(time_ms: float) -> int:
    """The bucket of a time: 0 up to 1 ms, then the first whose bound is no less, and one above all bounds."""
    return bisect_left(BOUNDS, time_ms)


def trimmed(counts: Sequence[int]) -> list[int]:
    """The counts without the zeros at their end."""
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return list(counts[:end])


def added(many: Iterable[Sequence[int]]) -> list[int]:
    """The sum of counts, bucket by bucket."""
    return [sum(column) for column in zip_longest(*many, fillvalue=0)]


def quantile(counts: Sequence[int], share: float) -> float:
    """The time in milliseconds that a share of the counted times do not exceed; NaN of no times.

    It lies in the bucket of the true quantile, the smallest time with at least the share at or below it, and
    within the bucket where it would be if times were spread evenly over their logarithms. A time above the
    last bound is given as that bound.

    Args:
        counts: By bucket.
        share: In [0, 1]; 0.5 is the median.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share!r} must lie between 0 and 1")
    total = sum(counts)
    if not total:
        return math.nan
    rank, below = max(1, math.ceil(share * total)), 0
    for bucket, count in enumerate(counts):
        if below + count >= rank:
            return _within(bucket, (rank - below) / count)
        below += count
    return BOUNDS[-1]


def _within(bucket: int, part: float) -> float:
    if bucket == 0:
        return BOUNDS[0] * part
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    return min(BOUNDS[bucket], float(BOUNDS[bucket - 1] * RATIO**part))
