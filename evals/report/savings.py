"""What routing saved, net of what it cost to learn. Pure: tables and prices in, values out.

Invariant: a bill adds up to the micro-dollar, and a request whose cost is unknown is on neither side of
it. What strong would have cost for a request that small answered is estimated from pairs, where both
answered the same request: strong's cost of a prompt token of small's count, and strong's completion
tokens per completion token of small's (two ratio estimators), or the mean cost of a strong answer where
tokens or the output price are not known. Where strong is a portfolio, its cost is that of all candidates.
What judges cost is on it, whoever chose the model that they judge. The interval resamples the pairs by prompt
and adds the spread of single requests around the estimate; those of several small models are added end to
end, which errs wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from evals.metrics.intervals import DRAWS, Estimate, Floats, percentile_interval, resampled_weights
from evals.outcomes import Outcomes, small_names
from evals.report.machines import Machines
from evals.report.offline import Offline
from evals.report.tree import Bill, Money
from stepdown.errors import NotEnoughEvidence
from stepdown.prices import Price, rent_usd_micros
from stepdown.records import ANSWERING, Reason, Role, Tier

MIN_PAIRS = 10
TOKENS = ("small_prompt_tokens", "small_completion_tokens", "strong_completion_tokens")
PAIR_COLUMNS = ("prompt_hash", "strong_cost_usd_micros", *TOKENS)


# Resampled rates of histories, by small model and whether tokens are known: for many bills of one history.
Draws = dict[tuple[str, bool], Floats]


class Rates(NamedTuple):
    """What the bill must know beside the ledger.

    Attributes:
        strong: The strong model's price, or None where it is not known.
        small_usd_per_hour: Rent of the small model's hardware; the task's part.
    """

    strong: Price | None
    small_usd_per_hour: float = 0.0


class OnStrong(NamedTuple):
    """What strong would have cost for answers that small gave.

    Attributes:
        method: How it was estimated.
        each: Of each answer in micro-dollars, indexed as the answers are; they sum to the value of `money`.
    """

    money: Money
    method: str
    each: pd.Series[Any]


def bill(
    outcomes: Outcomes,
    history: Mapping[str, pd.DataFrame],
    rates: Rates,
    confidence: float,
    offline: Offline = Offline(),  # noqa: B008 - immutable
    machines: Machines = Machines(),  # noqa: B008 - immutable
    rent: int | None = None,
    draws: Draws | None = None,
) -> Bill:
    """The bill of some requests.

    Args:
        outcomes: The requests, with their calls.
        history: `Outcomes.pairs_by_small` of the whole task, from which strong's costs are estimated.
        rates: Prices.
        confidence: Of the intervals.
        offline: What evaluations and trials cost.
        machines: What the hours of machines cost beside the rent of the small model.
        rent: What the small model's hardware cost, where that is not from the first request to the last.
        draws: What was drawn for an earlier bill of the same history; what is drawn now is added.

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
    if rent is None:
        rent = _rent(decided.requests, rates.small_usd_per_hour)
    known, small = _answered(priced)
    estimated = on_strong(small, history, rates, confidence, draws)
    counterfactual = _plus(estimated.money, known)
    answers = costs["live"] + costs["candidates"]
    spent = sum(costs.values()) + rent + machines.usd_micros
    net = _plus(counterfactual, -spent)
    return Bill(
        requests=len(priced.requests),
        answered_small=len(small),
        **costs,
        rent=rent,
        distillation=machines.usd_micros,
        actual=spent,
        counterfactual=counterfactual,
        gross=_plus(counterfactual, -answers),
        net=net,
        net_share=_share(net, counterfactual, spent),
        excluded=len(excluded),
        unpriced=int((~unknown["request"].isin(excluded)).sum()) + offline.unpriced,
        unpriced_machine_s=machines.unpriced_s,
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
    seconds = (requests["at"].max() - requests["at"].min()).total_seconds()
    return round(rent_usd_micros(usd_per_hour, seconds))


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


def on_strong(
    small: pd.DataFrame,
    history: Mapping[str, pd.DataFrame],
    rates: Rates,
    confidence: float,
    draws: Draws | None = None,
) -> OnStrong:
    """What strong would have cost for answers of small models.

    Args:
        small: Rows of `Outcomes.calls`, one a request.
        history: Pairs by small model; see `Outcomes.pairs_by_small`.
        rates: Prices.
        confidence: Of the interval.
        draws: What was drawn for an earlier estimate from the same history; what is drawn now is added.

    Raises:
        NotEnoughEvidence: Too few pairs to estimate from.
    """
    draws = {} if draws is None else draws
    if small.empty:
        nothing = pd.Series(dtype=float)
        return OnStrong(Money(0, 0, 0, 0), "known: strong answered every request", nothing)
    parts = [
        _of_one(str(name), answers, _pairs_for(str(name), history), rates, confidence, draws)
        for name, answers in small.groupby(small_names(small["model"]), sort=True)
    ]
    money = Money(*(sum(ends) for ends in zip(*(part.money for part in parts), strict=True)))
    method = "; ".join(dict.fromkeys(part.method for part in parts))
    return OnStrong(money, method, pd.concat([part.each for part in parts]).reindex(small.index))


def _pairs_for(name: str, history: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The pairs of one small model, or of all where its own are too few to estimate from."""
    own = history.get(name)
    if own is not None and len(own.dropna(subset=["strong_cost_usd_micros"])) >= MIN_PAIRS:
        return own
    every = list(history.values())
    return pd.concat(every, ignore_index=True) if every else pd.DataFrame(columns=list(PAIR_COLUMNS))


def _of_one(
    name: str, small: pd.DataFrame, history: pd.DataFrame, rates: Rates, confidence: float, draws: Draws
) -> OnStrong:
    pairs = history.dropna(subset=["strong_cost_usd_micros"])
    with_tokens = pairs.dropna(subset=list(TOKENS))
    countable = bool(small[["prompt_tokens", "completion_tokens"]].notna().all(axis=None))
    by_token = rates.strong is not None and countable and len(with_tokens) >= MIN_PAIRS
    pairs = with_tokens if by_token else pairs
    if len(pairs) < MIN_PAIRS:
        raise NotEnoughEvidence(
            f"what strong would have cost for {len(small)} answers of small is estimated from requests that "
            f"both answered with known cost; there are {len(pairs)}, {MIN_PAIRS - len(pairs)} more are needed"
        )
    if by_token and rates.strong is not None:
        ratios, method = _token_ratios(pairs, rates.strong.output), "from tokens, by ratios"
        sizes = small[["prompt_tokens", "completion_tokens"]].to_numpy(dtype=np.float64)
    else:
        ratios, method = _mean_cost(pairs), "from the mean cost of strong"
        sizes = np.ones((len(small), 1))
    if (name, by_token) not in draws:
        draws[name, by_token] = _drawn(ratios, pairs)
    money = _money(ratios, sizes, draws[name, by_token], len(pairs), confidence)
    each = pd.Series(sizes @ ratios.of(np.ones(len(pairs))), index=small.index)
    return OnStrong(money, f"estimated {method} over {len(pairs)} pairs", each)


class _Ratios(NamedTuple):
    """What an answer of small would cost on strong, for each unit of its size, as pairs tell.

    Attributes:
        of: From weights of the pairs, (draws, n) or (n,), to the ratios, (draws, k) or (k,).
        spread: Standard deviation of single requests around the estimate.
    """

    of: Callable[[Floats], Floats]
    spread: float


def _token_ratios(pairs: pd.DataFrame, output: float) -> _Ratios:
    """Micro-dollars for a prompt token and for a completion token of small."""
    cost = _floats(pairs, "strong_cost_usd_micros")
    prompt, short, long = (
        _floats(pairs, name)
        for name in ("small_prompt_tokens", "small_completion_tokens", "strong_completion_tokens")
    )

    def of(weights: Floats) -> Floats:
        per_prompt = (weights @ (cost - output * long)) / np.maximum(weights @ prompt, 1.0)
        return np.stack([per_prompt, output * (weights @ long) / np.maximum(weights @ short, 1.0)], axis=-1)

    per_prompt, per_completion = of(np.ones(len(pairs)))
    return _Ratios(of, float((cost - per_prompt * prompt - per_completion * short).std(ddof=2)))


def _mean_cost(pairs: pd.DataFrame) -> _Ratios:
    """Micro-dollars for an answer."""
    cost = _floats(pairs, "strong_cost_usd_micros")

    def of(weights: Floats) -> Floats:
        return np.asarray((weights @ cost) / weights.sum(axis=-1))[..., np.newaxis]

    return _Ratios(of, float(cost.std(ddof=1)))


def _drawn(ratios: _Ratios, pairs: pd.DataFrame) -> Floats:
    """The ratios of each resample of the prompts, of shape (draws, k)."""
    groups = pairs["prompt_hash"].to_numpy(str)
    return np.concatenate(
        [ratios.of(weights) for weights in resampled_weights(len(pairs), groups=groups, seed=1)]
    )


def _money(ratios: _Ratios, sizes: Floats, draws: Floats, n: int, confidence: float) -> Money:
    """The estimate of answers of some sizes, (m, k), with its interval."""
    total = sizes.sum(axis=0)
    value = float(ratios.of(np.ones(n)) @ total)
    # A resample varies less than a sample of as few, and the spread of requests is itself estimated.
    around = value + (draws @ total - value) * math.sqrt(n / (n - 2))
    noise = ratios.spread * math.sqrt(len(sizes))
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
