"""Prediction-powered estimates: right on paper, and valid where the judge is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.metrics.coverage import DRAWS, coverage_table, coverage_text
from evals.metrics.intervals import mean_outcome, paired_difference
from evals.metrics.ppi import (
    ALONE,
    ALONE_PAIRED,
    DIFFERENCE,
    LEAST_TRUSTED,
    POWERED,
    SHARE,
    Moments,
    Sizes,
    powered_difference,
    powered_interval,
    powered_mean,
)

SHARES = st.lists(st.floats(0, 1), min_size=LEAST_TRUSTED, max_size=80)


def drawn(n: int, seed: int = 0, *, rate: float = 0.8, right: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Truths, and a judge that is right so often."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(n) < rate).astype(float)
    return truth, np.where(generator.random(n) < right, truth, 1 - truth)


def test_intervals_hold_the_truth_where_the_naive_one_does_not() -> None:
    """The promise: nominal 95 %, at least 94 % of the draws, whatever the rate and the direction."""
    table = coverage_table()
    assert DRAWS >= 1000
    assert min(row.powered for row in table) >= 0.94
    assert max(row.naive for row in table) <= 0.05
    assert min(row.alone for row in table) >= 0.94
    assert all(row.powered_width < row.alone_width for row in table)
    assert {row.trusted for row in table} == {50, 100, 200}
    assert {row.rate for row in table} == {0.6, 0.8, 0.9, 0.95}
    assert len(coverage_text(table)) == len(table) + 1


def test_a_judge_that_is_almost_always_right_does_not_make_the_interval_too_short() -> None:
    """Few of its errors are seen in few rows, and what is not seen must still be allowed for."""
    generator = np.random.default_rng(3)
    for rate in (0.6, 0.9):
        for n in (30, 50, 100):
            cells = [0.97 * rate, 0.03 * rate, 0.03 * (1 - rate), 0.97 * (1 - rate)]
            both, missed, passed, _ = generator.multinomial(n, cells, size=10_000).T
            pool = generator.binomial(5000, cells[0] + cells[2], size=10_000) / 5000
            good, f = (both + missed) / n, (both + passed) / n
            found = powered_interval(
                Moments(good, f, good, both / n, f, pool, pool), Sizes(n, 5000), SHARE, 0.95
            )
            assert np.mean((found.low <= rate) & (rate <= found.high)) >= 0.94


def test_paired_differences_hold_the_truth_too() -> None:
    """Strong 0.95, small 0.85; the judge passes half of small's bad answers, and none of strong's."""
    generator, truth = np.random.default_rng(4), 0.10
    d = np.array([0, 1, 1, -1, 0, 0])
    f = np.array([0, 1, 0, -1, 0, -1])
    cells = np.array([0.82, 0.065, 0.065, 0.03, 0.01, 0.01])
    for n in (30, 50, 100, 200):
        k, pool = (generator.multinomial(size, cells, size=10_000) / size for size in (n, 2000))
        moments = Moments(k @ d, k @ f, k @ (d * d), k @ (d * f), k @ (f * f), pool @ f, pool @ (f * f))
        found = powered_interval(moments, Sizes(n, 2000), DIFFERENCE, 0.95)
        assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.94
        naive = pool @ f
        assert abs(naive.mean() - truth) > 0.02


def test_a_good_judge_shortens_the_interval_and_a_useless_one_does_not() -> None:
    truth, judged = drawn(200)
    _, pool = drawn(5000, seed=1)
    powered = powered_mean(truth, judged, pool)
    alone = mean_outcome(truth)
    assert powered.method == POWERED
    assert powered.weight > 0.5
    assert powered.estimate.high - powered.estimate.low < 0.8 * (alone.high - alone.low)
    constant = powered_mean(truth, np.ones(200), np.ones(5000))
    assert constant.estimate.value == pytest.approx(truth.mean())
    assert constant.estimate.high - constant.estimate.low > 0.95 * (alone.high - alone.low)


def test_the_value_is_the_unbiased_one() -> None:
    truth, judged = drawn(100, right=0.7)
    _, pool = drawn(400, seed=1, right=0.7)
    found = powered_mean(truth, judged, pool)
    by_hand = truth.mean() + found.weight * (pool.mean() - judged.mean())
    assert found.estimate.value == pytest.approx(by_hand)
    assert (found.estimate.n, found.judged) == (100, 400)


def test_few_trusted_labels_stand_alone_and_that_is_said() -> None:
    truth, judged = drawn(LEAST_TRUSTED - 1)
    few = powered_mean(truth, judged, np.ones(1000))
    assert (few.estimate, few.method, few.weight) == (mean_outcome(truth), ALONE, 0.0)
    paired = powered_difference((truth, judged), (truth, judged), (np.ones(9), np.ones(9)))
    assert (paired.estimate, paired.method) == (paired_difference(truth, judged), ALONE_PAIRED)
    nobody_judged = powered_mean(*drawn(100), [])
    assert nobody_judged.method == ALONE
    nothing = powered_mean([], [], [])
    assert math.isnan(nothing.estimate.value)


def test_rows_of_one_prompt_are_no_more_evidence_than_one() -> None:
    truth, judged = drawn(60)
    _, pool = drawn(500, seed=1)
    once = powered_mean(truth, judged, pool, groups=range(60), judged_groups=range(60, 560))
    copies = powered_mean(
        np.tile(truth, 5),
        np.tile(judged, 5),
        pool,
        groups=np.tile(range(60), 5),
        judged_groups=range(60, 560),
    )
    assert copies.estimate[:3] == pytest.approx(once.estimate[:3])


def test_prompts_on_both_sides_make_the_interval_no_shorter() -> None:
    truth, judged = drawn(60)
    _, pool = drawn(300, seed=1)
    apart = powered_mean(truth, judged, pool, groups=range(60), judged_groups=range(60, 360))
    shared = powered_mean(truth, judged, pool, groups=range(60), judged_groups=range(300))
    assert shared.estimate.high - shared.estimate.low >= apart.estimate.high - apart.estimate.low


def test_a_difference_is_that_of_the_two_models() -> None:
    strong, small = drawn(100, rate=0.9)[0], drawn(100, seed=2, rate=0.6)[0]
    pool = (drawn(2000, seed=3, rate=0.9)[0], drawn(2000, seed=4, rate=0.6)[0])
    found = powered_difference((strong, small), (strong, small), pool)
    other_way = powered_difference((small, strong), (small, strong), pool[::-1])
    assert found.estimate.value == pytest.approx(0.3, abs=0.06)
    assert other_way.estimate.value == pytest.approx(-found.estimate.value)
    assert other_way.estimate.low == pytest.approx(-found.estimate.high)


@settings(max_examples=50)
@given(SHARES, st.lists(st.floats(0, 1), min_size=1, max_size=50), st.integers(0, 10))
def test_any_shares_give_a_value_in_its_interval_in_the_unit(
    judged: list[float], pool: list[float], seed: int
) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, len(judged))
    value, low, high, _ = powered_mean(truth, judged, pool).estimate
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0"):
        powered_mean([2.0], [0.0], [])
    with pytest.raises(ValueError, match="as many"):
        powered_mean([1.0, 0.0], [0.0], [])
