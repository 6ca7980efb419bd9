"""What requests cost where a threshold parts them between strong and small, on pairs of known cost. Pure.

Invariant: a pair whose cost is unknown on either side counts on neither. Intervals resample the pairs by
prompt and are approximate. What labels, judges and nights cost does not depend on the threshold and is not in
here; the bill has it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evals.metrics.intervals import Estimate, Floats, percentile_interval, resampled_weights
from evals.metrics.pgr import cost_quality_curve
from evals.report.savings import MIN_PAIRS


class Costs(NamedTuple):
    """What pairs of known cost cost on each model.

    Attributes:
        rows: The pairs, with the router's `gain`.
        strong: Micro-dollars of each on strong; likewise `small`.
    """

    rows: pd.DataFrame
    strong: Floats
    small: Floats

    @property
    def enough(self) -> bool:
        """Whether anything can be estimated from them."""
        return len(self.rows) >= MIN_PAIRS


class Spent(NamedTuple):
    """Mean micro-dollars of a request: what its answer costs, and what routing saves on it."""

    cost: Estimate
    saving: Estimate


def known_costs(held_out: pd.DataFrame) -> Costs:
    """The pairs whose cost is known on both sides."""
    names = ["strong_cost_usd_micros", "small_cost_usd_micros"]
    rows = held_out.dropna(subset=names).reset_index(drop=True)
    strong, small = (rows[name].to_numpy(dtype=np.float64) for name in names)
    return Costs(rows, strong, small)


def cost_at(costs: Costs, strong_shares: Floats) -> Floats:
    """Mean cost of an answer where strong has these shares of the requests, those of the largest gain."""
    curve = cost_quality_curve(costs.rows["gain"], costs.strong, costs.small)
    return np.interp(strong_shares, curve.strong_share, curve.quality)


def spent_at(costs: Costs, thresholds: Floats, exploration: float, confidence: float) -> list[Spent]:
    """What a request costs and saves at each threshold.

    Args:
        costs: Of enough pairs.
        thresholds: Small iff gain <= threshold. (k,)
        exploration: Share of the requests that strong answers whatever the router says, while small is asked
            in the shadow: it saves nothing on them, and pays for small's answer.
        confidence: Of the intervals.
    """
    small = costs.rows["gain"].to_numpy(dtype=np.float64)[None, :] <= thresholds[:, None]
    answers = np.where(small, costs.small, costs.strong)
    saved = (1 - exploration) * (costs.strong - answers) - exploration * costs.small
    groups = costs.rows["prompt_hash"].to_numpy(dtype=str)
    means = _means(np.vstack((answers, saved)), groups, confidence)
    return [Spent(*both) for both in zip(means[: len(answers)], means[len(answers) :], strict=True)]


def _means(values: Floats, groups: NDArray[np.str_], confidence: float) -> list[Estimate]:
    """The mean of each row of values, with an interval that resamples its columns by group."""
    count = values.shape[1]
    drawn = np.concatenate(
        [
            weights @ values.T / weights.sum(axis=1, keepdims=True)
            for weights in resampled_weights(count, groups=groups)
        ]
    )
    return [
        Estimate(float(row.mean()), *percentile_interval(drawn[:, place], confidence), count)
        for place, row in enumerate(values)
    ]
