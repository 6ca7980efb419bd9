"""What a request of a slice costs on either model. Pure: tables and prices in, values out.

A mean's interval is Student's t over whole prompts (the linearised ratio estimator of cluster sampling;
Cochran, Sampling Techniques, 1977, section 11.8): approximate, and wide where prompts are few. Invariant:
a cost that is not known is left out and never zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from evals.metrics.intervals import Estimate
from stepdown.prices import Price
from stepdown.records import Role, Tier

ANSWERS = (Role.LIVE, Role.SHADOW, Role.ESCALATION)


class Costs(NamedTuple):
    """Mean cost of a request in micro-dollars.

    Attributes:
        strong: On the strong model.
        small: On the small model.
        difference: Strong's less small's; without data where either is not known.
        method: `paired` (both answered the same requests), `priced` (small's price on strong's tokens, as
            small has not answered), `separate` (different requests), or `unknown`.
    """

    strong: Estimate
    small: Estimate
    difference: Estimate
    method: str


def slice_costs(calls: pd.DataFrame, pairs: pd.DataFrame, small: Price | None, confidence: float) -> Costs:
    """The costs of a slice.

    Args:
        calls: Its calls, with `prompt_hash`.
        pairs: Its requests that both models answered.
        small: The small model's price, or None where it is not known.
        confidence: Of the intervals.
    """
    with_candidates = _with_candidates(calls)
    answers = with_candidates[with_candidates["role"].isin(ANSWERS)].dropna(subset=["cost_usd_micros"])
    strong, cheap = (answers[answers["tier"] == tier] for tier in (Tier.STRONG, Tier.SMALL))
    on_strong, on_small = (_mean(part, "cost_usd_micros", confidence) for part in (strong, cheap))
    both = pairs.dropna(subset=["strong_cost_usd_micros", "small_cost_usd_micros"])
    if len(both) > 1:
        difference = _difference(both["strong_cost_usd_micros"], both["small_cost_usd_micros"])
        return Costs(
            on_strong, on_small, mean_by_prompt(difference, both["prompt_hash"], confidence), "paired"
        )
    if on_small.n and on_strong.n:
        return Costs(on_strong, on_small, _apart(on_strong, on_small), "separate")
    tokens = strong.dropna(subset=["prompt_tokens", "completion_tokens"])
    if small is None or tokens.empty:
        return Costs(on_strong, on_small, NOTHING, "unknown")
    priced = (
        _floats(tokens["prompt_tokens"]) * small.input + _floats(tokens["completion_tokens"]) * small.output
    )
    difference = _floats(tokens["cost_usd_micros"]) - priced
    groups = tokens["prompt_hash"]
    return Costs(
        on_strong,
        mean_by_prompt(priced, groups, confidence),
        mean_by_prompt(difference, groups, confidence),
        "priced",
    )


def _with_candidates(calls: pd.DataFrame) -> pd.DataFrame:
    """The answered calls, the strong one with what its portfolio's other candidates cost added to it."""
    answered = calls[calls["ok"]]
    candidates = answered[answered["role"] == Role.CANDIDATE]
    beside = candidates.groupby("request")["cost_usd_micros"].agg(lambda costs: costs.sum(skipna=False))
    live = (answered["role"] == Role.LIVE) & (answered["tier"] == Tier.STRONG)
    added = answered["request"].map(beside).where(live & answered["request"].isin(beside.index), 0)
    return answered.assign(cost_usd_micros=answered["cost_usd_micros"] + added)


NOTHING = Estimate(math.nan, -math.inf, math.inf, 0)


def mean_by_prompt(values: ArrayLike, prompts: ArrayLike, confidence: float) -> Estimate:
    """The mean of values, rows of one prompt counting as one draw; no interval from one prompt."""
    amounts = np.asarray(values, dtype=np.float64)
    if not amounts.size:
        return NOTHING
    mean, n = float(amounts.mean()), len(amounts)
    _, member = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    residuals = np.bincount(member, weights=amounts - mean)
    groups = len(residuals)
    if groups < 2:
        return Estimate(mean, -math.inf, math.inf, n)
    error = math.sqrt(groups / (groups - 1) * float((residuals**2).sum())) / n
    reach = float(stdtrit(groups - 1, (1 + confidence) / 2)) * error
    return Estimate(mean, mean - reach, mean + reach, n)


def _mean(calls: pd.DataFrame, column: str, confidence: float) -> Estimate:
    return mean_by_prompt(_floats(calls[column]), calls["prompt_hash"], confidence)


def _apart(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two independent means; the reaches add up as errors do."""
    value = one.value - other.value
    reach = math.hypot(one.high - one.value, other.high - other.value)
    return Estimate(value, value - reach, value + reach, min(one.n, other.n))


def _difference(one: pd.Series[float], other: pd.Series[float]) -> ArrayLike:
    return _floats(one) - _floats(other)


def _floats(values: pd.Series[float]) -> NDArray[np.float64]:
    return np.asarray(values.to_numpy(dtype=np.float64), dtype=np.float64)
