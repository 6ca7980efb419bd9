"""Costs of a slice: paired where both answered, priced where small has not, unknown where nobody knows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evals.slices.costs import mean_by_prompt, slice_costs
from stepdown.prices import Price

NO_PAIRS = pd.DataFrame({"strong_cost_usd_micros": [], "small_cost_usd_micros": [], "prompt_hash": []})


def calls(tier: str, costs: list[int | None], *, ok: bool = True, role: str = "live") -> pd.DataFrame:
    n = len(costs)
    return pd.DataFrame(
        {
            "request": [f"r{i}" for i in range(n)],
            "tier": [tier] * n,
            "role": [role] * n,
            "ok": [ok] * n,
            "prompt_hash": [f"{tier}{i}" for i in range(n)],
            "cost_usd_micros": pd.array(costs, dtype="Int64"),
            "prompt_tokens": pd.array([10] * n, dtype="Int64"),
            "completion_tokens": pd.array([20] * n, dtype="Int64"),
        }
    )


def test_pairs_give_the_difference() -> None:
    pairs = pd.DataFrame(
        {
            "strong_cost_usd_micros": pd.array([100, 120, 140], dtype="Int64"),
            "small_cost_usd_micros": pd.array([10, 10, 40], dtype="Int64"),
            "prompt_hash": ["a", "b", "c"],
        }
    )
    costs = slice_costs(pd.concat([calls("strong", [100, 300]), calls("small", [10])]), pairs, None, 0.95)
    assert (costs.method, costs.difference.value, costs.difference.n) == ("paired", 100.0, 3)
    assert (costs.strong.value, costs.small.value) == (200.0, 10.0)


def test_a_portfolios_other_candidates_are_part_of_what_strong_costs() -> None:
    live, beside = calls("strong", [100, 300]), calls("strong", [50], role="candidate")
    costs = slice_costs(pd.concat([live, beside, beside]), NO_PAIRS, None, 0.95)
    assert (costs.strong.value, costs.strong.n) == (250.0, 2)
    unknown = calls("strong", [None], role="candidate")
    assert slice_costs(pd.concat([live, unknown]), NO_PAIRS, None, 0.95).strong == pytest.approx(
        (300.0, -math.inf, math.inf, 1)
    )


def test_without_pairs_the_means_are_subtracted() -> None:
    costs = slice_costs(
        pd.concat([calls("strong", [100, 200]), calls("small", [10, 20])]), NO_PAIRS, None, 0.95
    )
    assert (costs.method, costs.difference.value) == ("separate", 135.0)
    assert costs.difference.low < costs.strong.low - costs.small.value


def test_a_small_model_that_never_answered_is_priced_on_strongs_tokens() -> None:
    costs = slice_costs(calls("strong", [100, 100]), NO_PAIRS, Price(1.0, 1.0, 2.0), 0.95)
    assert (costs.method, costs.small.value, costs.difference.value) == ("priced", 50.0, 50.0)


def test_unknown_costs_are_left_out_and_not_zero() -> None:
    unknown = slice_costs(calls("strong", [None, None]), NO_PAIRS, Price(1.0, 1.0, 2.0), 0.95)
    assert (unknown.method, unknown.strong.n, unknown.difference.n) == ("unknown", 0, 0)
    assert math.isnan(unknown.difference.value)
    some = slice_costs(calls("strong", [None, 80]), NO_PAIRS, None, 0.95)
    assert (some.strong.value, some.strong.n) == (80.0, 1)
    assert slice_costs(calls("strong", [80], ok=False), NO_PAIRS, None, 0.95).strong.n == 0


def test_rows_of_one_prompt_count_as_one_draw() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    apart = mean_by_prompt(values, list("abcd"), 0.95)
    copies = mean_by_prompt(np.repeat(values, 9), np.repeat(list("abcd"), 9), 0.95)
    assert copies[:3] == pytest.approx(apart[:3])
    assert mean_by_prompt([5.0, 7.0], ["a", "a"], 0.95)[:3] == (6.0, -math.inf, math.inf)


def test_the_interval_of_a_mean_covers() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        level = rng.normal(100, 20, 30)
        sizes = rng.integers(1, 5, 30)
        values = np.repeat(level, sizes) + rng.normal(0, 5, sizes.sum())
        found = mean_by_prompt(values, np.repeat(np.arange(30), sizes), 0.95)
        hits += found.low <= 100 <= found.high
    assert hits >= 930
