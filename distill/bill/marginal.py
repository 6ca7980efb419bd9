"""What a student earns beyond the one before it, by the canary in which chance gave requests to either. Pure.

A request's saving is what strong would have cost for it less what its live calls cost; one that strong
answered saves nothing. Each request counts by one over the probability of its arm, so that a share that grew
while the traffic changed tilts nothing (Hajek's estimator). The interval resamples prompts, and has the
halves of both arms' intervals of strong's costs on top, as if they were independent: approximate. What labels
and shadow calls took is not in it: the trial took them, and not the student.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from distill.bill.tree import Marginal
from evals.metrics.intervals import Floats, percentile_interval, resampled_weights
from evals.report.tree import Money
from stepdown.errors import NotEnoughEvidence

LEAST = 30


def marginal(rows: pd.DataFrame, spread: tuple[float, float], decided: int, confidence: float) -> Marginal:
    """The difference of the two arms' savings.

    Args:
        rows: One a request: `saved_usd_micros`, `canary` (whether its arm is the student's), `share` (the
            probability that it would be), `prompt_hash`.
        spread: Half the width of the interval of what strong would have cost in all, of the canary's answers
            and of the control's.
        decided: Requests that the student's policy has decided until now.
        confidence: Of the interval.

    Raises:
        NotEnoughEvidence: An arm has too few requests.
    """
    canary = rows["canary"].to_numpy(dtype=bool)
    counts = int(canary.sum()), int((~canary).sum())
    if min(counts) < LEAST:
        raise NotEnoughEvidence(
            f"the canary gave {counts[0]} requests to it and {counts[1]} to the one before it; "
            f"{LEAST} of each are needed"
        )
    share = rows["share"].to_numpy(dtype=float)
    weights = np.where(canary, 1 / share, 1 / (1 - share))
    saved = rows["saved_usd_micros"].to_numpy(dtype=float)
    value = float(_difference(np.ones((1, len(rows))), saved, weights, canary)[0])
    groups = rows["prompt_hash"].to_numpy(str)
    draws = np.concatenate(
        [
            _difference(drawn, saved, weights, canary)
            for drawn in resampled_weights(len(rows), groups=groups, seed=3)
        ]
    )
    ends = percentile_interval(draws, confidence)
    halves = [half / count for half, count in zip(spread, counts, strict=True)]
    low = value - math.hypot(value - ends.low, *halves)
    high = value + math.hypot(ends.high - value, *halves)
    so_far = Money(round(value * decided), round(low * decided), round(high * decided), len(rows))
    return Marginal(value, low, high, *counts, decided, so_far)


def _difference(drawn: Floats, saved: Floats, weights: Floats, canary: NDArray[np.bool_]) -> Floats:
    means = []
    for arm in (canary, ~canary):
        counted = drawn[:, arm] * weights[arm]
        with np.errstate(invalid="ignore"):  # a resample without a row of an arm says nothing: NaN
            means.append((counted @ saved[arm]) / counted.sum(axis=1))
    return np.asarray(means[0] - means[1])
