"""What routing saved, net of what it cost to learn. Pure: tables and prices in, values out.

Invariant: a bill adds up to the micro-dollar, and a request whose cost is unknown is on neither side of
it. What strong would have cost for a request that small answered is estimated from pairs, where both
answered the same request: strong's cost of a prompt token of small's count, and strong's completion
tokens per completion token of small's (two ratio estimators), or the mean cost of a strong answer where
tokens or the output price are not known. Where strong is a portfolio, its cost is that of all candidates.
What judges cost is on it, whoever chose the model that they judge. The interval resamples the pairs by prompt
and adds the spread of single requests around the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from evals.metrics.intervals import DRAWS, Estimate, Floats, percentile_interval, resampled_weights
from evals.outcomes import ANSWERING, Outcomes
from evals.report.offline import Offline
from evals.report.tree import Bill, Money
from stepdown.errors import NotEnoughEvidence
from stepdown.prices import Price
from stepdown.records import Reason, Role, Tier

MIN_PAIRS = 10
TOKENS = ("small_prompt_tokens", "small_completion_tokens", "strong_completion_tokens")


class Rates(NamedTuple):
    """What the bill must know beside the ledger.

    Attributes:
        strong: The strong model's price, or None where it is not known.
        small_usd_per_hour: Rent of the small model's hardware.
    """

    strong: Price | None
    small_usd_per_hour: float = 0.0


class _Estimated(NamedTuple):
    money: Money
    method: str


def bill(
    outcomes: Outcomes,
    history: pd.DataFrame,
    rates: Rates,
    confidence: float,
    offline: Offline = Offline(),  # noqa: B008 - immutable
) -> Bill:
    """The bill of some requests.

    Args:
        outcomes: The requests, with their calls.
        history: All pairs of the task, from which strong's costs are estimated.
        rates: Prices.
        confidence: Of the intervals.
        offline: What evaluations and trials cost.

    Raises:
        NotEnoughEvidence: There are no requests, a model has no price, or too few pairs to estimate from.
    """
    decided = outcomes.where(
        outcomes.requests["reason"].notna() & (outcomes.requests["reason"] != Reason.NAMED)
    )
    if decided.requests.empty:
        raise NotEnoughEvidence("a bill needs requests on which the policy decided; there are none yet")
    _refuse_without_price(decided.calls)
    calls = decided.calls
    unknown = calls[calls["ok"] & calls["cost_usd_micros"].isna()]
    excluded = set(unknown.loc[unknown["role"].isin((*ANSWERING, Role.CANDIDATE)), "request"])
    priced = decided.where(~decided.requests["id"].isin(excluded))
    costs = _costs(priced, outcomes.where(~outcomes.requests["id"].isin(excluded)).calls, offline)
    rent = _rent(decided.requests, rates.small_usd_per_hour)
    known, small = _answered(priced)
    estimated = _strong_cost(small, history, rates, confidence)
    counterfactual = _plus(estimated.money, known)
    answers = costs["live"] + costs["candidates"]
    spent = sum(costs.values()) + rent
    net = _plus(counterfactual, -spent)
    return Bill(
        requests=len(priced.requests),
        answered_small=len(small),
        **costs,
        rent=rent,
        actual=spent,
        counterfactual=counterfactual,
        gross=_plus(counterfactual, -answers),
        net=net,
        net_share=_share(net, counterfactual, spent),
        excluded=len(excluded),
        unpriced=int((~unknown["request"].isin(excluded)).sum()) + offline.unpriced,
        method=estimated.method,
    )


def _refuse_without_price(calls: pd.DataFrame) -> None:
    for model, of_model in calls[calls["ok"]].groupby("model"):
        if of_model["cost_usd_micros"].isna().all():
            raise NotEnoughEvidence(
                f"model {model!r} has no known price ({len(of_model)} calls): set input_usd_per_million and "
                "output_usd_per_million of its [models] entry (0 for hardware that is rented by the hour)"
            )


def _costs(outcomes: Outcomes, of_all: pd.DataFrame, offline: Offline) -> dict[str, int]:
    """What was paid; judges' work on requests that the policy did not decide, among `of_all`, is paid too."""
    calls = outcomes.calls
    explored = calls["request"].isin(outcomes.requests.loc[outcomes.requests["explored"], "id"])
    shadow = calls["role"] == Role.SHADOW
    parts = {
        "live": calls["role"] == Role.LIVE,
        "candidates": calls["role"] == Role.CANDIDATE,
        "shadow": shadow & ~explored,
        "exploration": shadow & explored,
        "escalation": calls["role"] == Role.ESCALATION,
    }
    costs = {name: int(calls.loc[chosen, "cost_usd_micros"].sum()) for name, chosen in parts.items()}
    asked = int(of_all.loc[of_all["role"] == Role.JUDGE, "cost_usd_micros"].sum())
    costs["judge"] = asked + int(of_all["label_cost_usd_micros"].sum()) + offline.judging
    return {**costs, "evaluations": offline.evaluations, "trials": offline.trials}


def _rent(requests: pd.DataFrame, usd_per_hour: float) -> int:
    hours = float((requests["at"].max() - requests["at"].min()).total_seconds()) / 3600
    return round(usd_per_hour * hours * 1_000_000)


def _answered(outcomes: Outcomes) -> tuple[int, pd.DataFrame]:
    """What strong's own answers cost, and the small answers whose cost on strong must be estimated.

    A request that nobody answered costs always-strong what it cost us. Strong's own answers include the
    candidates that were not picked.
    """
    candidates = outcomes.calls[outcomes.calls["role"] == Role.CANDIDATE]
    calls = outcomes.calls[outcomes.calls["role"].isin(ANSWERING)]
    answers = calls[calls["ok"]].drop_duplicates("request", keep="last")
    unanswered = calls[~calls["request"].isin(answers["request"])]
    strong = answers[answers["tier"] == Tier.STRONG]
    known = int(strong["cost_usd_micros"].sum()) + int(unanswered["cost_usd_micros"].sum())
    small = answers[answers["tier"] == Tier.SMALL]
    beside = candidates[~candidates["request"].isin(small["request"])]
    return known + int(beside["cost_usd_micros"].sum()), small


def _strong_cost(small: pd.DataFrame, history: pd.DataFrame, rates: Rates, confidence: float) -> _Estimated:
    if small.empty:
        return _Estimated(Money(0, 0, 0, 0), "known: strong answered every request")
    pairs = history.dropna(subset=["strong_cost_usd_micros"])
    with_tokens = pairs.dropna(subset=list(TOKENS))
    countable = small[["prompt_tokens", "completion_tokens"]].notna().all(axis=None)
    by_token = rates.strong is not None and countable and len(with_tokens) >= MIN_PAIRS
    pairs = with_tokens if by_token else pairs
    if len(pairs) < MIN_PAIRS:
        raise NotEnoughEvidence(
            f"what strong would have cost for {len(small)} answers of small is estimated from requests that "
            f"both answered with known cost; there are {len(pairs)}, {MIN_PAIRS - len(pairs)} more are needed"
        )
    if by_token and rates.strong is not None:
        method = f"estimated from tokens, by ratios over {len(pairs)} pairs"
        return _Estimated(_by_tokens(small, pairs, rates.strong.output, confidence), method)
    method = f"estimated from the mean cost of strong over {len(pairs)} pairs"
    return _Estimated(_by_mean(len(small), pairs, confidence), method)


def _by_tokens(small: pd.DataFrame, pairs: pd.DataFrame, output: float, confidence: float) -> Money:
    cost = _floats(pairs, "strong_cost_usd_micros")
    prompt, short, long = (
        _floats(pairs, name)
        for name in ("small_prompt_tokens", "small_completion_tokens", "strong_completion_tokens")
    )
    sizes = _floats(small, "prompt_tokens").sum(), _floats(small, "completion_tokens").sum()

    def rates(weights: Floats) -> tuple[Floats, Floats]:
        per_prompt = (weights @ (cost - output * long)) / np.maximum(weights @ prompt, 1.0)
        return per_prompt, output * (weights @ long) / np.maximum(weights @ short, 1.0)

    def total(weights: Floats) -> Floats:
        per_prompt, per_completion = rates(weights)
        return np.asarray(per_prompt * sizes[0] + per_completion * sizes[1])

    per_prompt, per_completion = rates(np.ones(len(pairs)))
    spread = float((cost - per_prompt * prompt - per_completion * short).std(ddof=2))
    return _resampled(total, pairs, spread * math.sqrt(len(small)), confidence)


def _by_mean(count: int, pairs: pd.DataFrame, confidence: float) -> Money:
    cost = _floats(pairs, "strong_cost_usd_micros")

    def total(weights: Floats) -> Floats:
        return np.asarray(count * (weights @ cost) / weights.sum(axis=-1))

    return _resampled(total, pairs, float(cost.std(ddof=1)) * math.sqrt(count), confidence)


def _resampled(
    total: Callable[[Floats], Floats], pairs: pd.DataFrame, noise: float, confidence: float
) -> Money:
    n = len(pairs)
    draws = [
        total(weights) for weights in resampled_weights(n, groups=pairs["prompt_hash"].to_numpy(str), seed=1)
    ]
    value = float(total(np.ones(n)))
    # A resample varies less than a sample of as few, and the spread of requests is itself estimated.
    around = value + (np.concatenate(draws) - value) * math.sqrt(n / (n - 2))
    around += noise * np.random.default_rng(2).standard_t(n - 2, DRAWS)
    low, high = percentile_interval(around, confidence)
    return Money(round(value), max(0, round(low)), round(high), n)


def _floats(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(dtype=np.float64)


def _plus(money: Money, known: int) -> Money:
    return Money(money.value + known, money.low + known, money.high + known, money.n)


def _share(net: Money, counterfactual: Money, spent: int) -> Estimate:
    """1 - spent / counterfactual, which grows with the counterfactual: its ends give the ends."""
    value, low, high = (
        1 - spent / whole if whole > 0 else math.nan
        for whole in (counterfactual.value, counterfactual.low, counterfactual.high)
    )
    return Estimate(value, low, high, net.n)
