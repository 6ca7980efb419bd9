"""Compares contenders on the same cases: the statistics of the harness, from scores alone. Pure.

Invariant: a comparison uses only cases that both have a score for, counts each prompt once however often
the suite asks it, and comes with a p-value that is corrected for how many were made. A case's score is the
mean over its samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.metrics.groups import group_sums
from evals.metrics.holm import holm, joint_confidence
from evals.metrics.intervals import (
    DRAWS,
    Estimate,
    Floats,
    paired_difference,
    percentile_interval,
    resampled_weights,
)
from evals.metrics.mcnemar import mcnemar
from evals.metrics.sign_flip import sign_flip

Groups = NDArray[np.str_]


class Tested(NamedTuple):
    """One comparison, before the correction.

    Attributes:
        difference: First minus second, with the interval of this comparison alone; `joint` likewise with
            the one that holds beside the others of the family.
        better: Prompts on which the first scored higher.
        p: Two-sided; `p_worse` is one-sided, of the first being worse.
    """

    test: Literal["mcnemar", "sign_flip"]
    difference: Estimate
    joint: Estimate
    better: int
    worse: int
    p: float
    p_worse: float


def compare_pair(
    first: Floats, second: Floats, groups: Groups, *, confidence: float, family: int = 1
) -> Tested:
    """Compare two contenders' scores on the same cases.

    Args:
        first: Scores in [0, 1]; NaN where there is none.
        second: Likewise.
        groups: Hash of each case's prompt.
        confidence: Of the intervals.
        family: Comparisons that are made beside each other, this one included.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    a, b, own = first[both], second[both], groups[both]
    if not a.size:
        nothing = Estimate(math.nan, -1.0, 1.0, 0)
        return Tested("mcnemar", nothing, nothing, 0, 0, 1.0, 1.0)
    sums = group_sums(a - b, own)
    better, worse = int((sums > 1e-12).sum()), int((sums < -1e-12).sum())
    joint = joint_confidence(confidence, family)
    if np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        exact = mcnemar(a, b, groups=own)
        alone, jointly = (paired_difference(a, b, level, groups=own) for level in (confidence, joint))
        return Tested("mcnemar", alone, jointly, better, worse, exact.p, exact.p_worse)
    flips = sign_flip(a - b, groups=own)
    alone, jointly = mean_with_intervals(a - b, own, (confidence, joint))
    return Tested("sign_flip", alone, jointly, better, worse, flips.p, flips.p_worse)


def mean_with_intervals(values: Floats, groups: Groups, levels: Sequence[float]) -> list[Estimate]:
    """The mean with percentile intervals from resampling whole groups, one for each level (approximate)."""
    chunks = [
        (weights @ values) / weights.sum(axis=1)
        for weights in resampled_weights(len(values), groups=groups, draws=DRAWS)
    ]
    drawn, mean = np.concatenate(chunks), float(values.mean())
    return [Estimate(mean, *percentile_interval(drawn, level), len(values)) for level in levels]


def corrected(tested: Sequence[Tested]) -> list[float]:
    """The two-sided p-values of a family of comparisons, corrected by Holm's method."""
    return holm([one.p for one in tested])


def scores_of(by_case: Mapping[str, float | None], ids: Sequence[str]) -> Floats:
    """Scores as an array in the order of the cases, NaN where there is none."""
    values = (by_case.get(case) for case in ids)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
