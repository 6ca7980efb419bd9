"""A projected saving is what paper says, falls with the bound, and is never above the oracle's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evals.summary.projection import Terms, saving

TERMS = Terms(bound=0.1, exploration=0.0, requests_a_month=1_000, rent_a_month=0, confidence=0.95)


def pairs(count: int, *, small_good: list[float], costs: tuple[int, int] = (100, 10)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "strong_good": [1.0] * count,
            "small_good": (small_good * count)[:count],
            "strong_cost_usd_micros": [costs[0]] * count,
            "small_cost_usd_micros": [costs[1]] * count,
            "prompt_hash": [str(number) for number in range(count)],
        }
    )


def test_small_takes_as_many_as_the_bound_allows() -> None:
    table = pairs(100, small_good=[1.0, 0.0])
    gains = np.arange(100.0)
    found = saving(table, gains, TERMS)
    assert found is not None
    # Every second is a regret, ten of a hundred are allowed: small takes 21, the eleventh regret is the 22nd.
    assert found.coverage.value == pytest.approx(0.21)
    assert found.usd_micros.value == pytest.approx(0.21 * 90 * 1_000)
    assert found.usd_micros.low < found.usd_micros.value < found.usd_micros.high
    assert (found.usd_micros.n, found.at_most) == (100, False)


def test_ties_are_taken_whole_or_not_at_all() -> None:
    table = pairs(100, small_good=[1.0, 0.0])
    found = saving(table, np.repeat(np.arange(5.0), 20), TERMS)
    assert found is not None
    assert found.coverage.value == pytest.approx(0.2)


def test_a_perfect_score_finds_all_on_which_small_is_good() -> None:
    table = pairs(100, small_good=[1.0, 0.0])
    found = saving(table, 1.0 - table["small_good"].to_numpy(), TERMS._replace(bound=0.01))
    assert found is not None
    assert found.coverage.value == pytest.approx(0.5)


def test_exploration_and_rent_lessen_it() -> None:
    table, gains = pairs(100, small_good=[1.0]), np.zeros(100)
    plain = saving(table, gains, TERMS)
    found = saving(table, gains, TERMS._replace(exploration=0.1, rent_a_month=7_000))
    assert plain is not None
    assert found is not None
    assert plain.usd_micros.value == 90_000
    assert found.usd_micros.value == 0.9 * 90_000 - 0.1 * 10 * 1_000 - 7_000
    assert found.coverage.value == pytest.approx(0.9)


def test_an_oracle_bounds_it_from_above() -> None:
    generator = np.random.default_rng(1)
    table = pairs(200, small_good=generator.integers(0, 2, 200).astype(float).tolist())
    oracle = saving(table, None, TERMS)
    found = saving(table, generator.random(200), TERMS._replace(bound=0.0001))
    assert oracle is not None
    assert found is not None
    assert oracle.at_most
    assert oracle.usd_micros.value == round(90_000 * table["small_good"].mean())
    assert found.usd_micros.value <= oracle.usd_micros.value


def test_pairs_without_costs_say_nothing() -> None:
    table = pairs(15, small_good=[1.0])
    table.loc[:5, "strong_cost_usd_micros"] = None
    assert saving(table, None, TERMS) is None


def test_the_same_prompt_over_and_over_is_one_observation() -> None:
    apart, alike = pairs(100, small_good=[1.0, 0.0]), pairs(100, small_good=[1.0, 0.0])
    alike["prompt_hash"] = [str(number // 20) for number in range(100)]
    alike["small_good"] = [float(number // 20 % 2) for number in range(100)]
    wide, narrow = saving(alike, None, TERMS), saving(apart, None, TERMS)
    assert wide is not None
    assert narrow is not None
    assert wide.usd_micros.high - wide.usd_micros.low > 2 * (narrow.usd_micros.high - narrow.usd_micros.low)
