"""Intervals: known values, and coverage counted or simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from evals.metrics.intervals import (
    bootstrap,
    clopper_pearson,
    effective_size,
    mean_outcome,
    paired_difference,
    percentile_interval,
    proportion,
    resampled_weights,
)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys_exact_interval(trials: tuple[int, int]) -> None:
    k, n = trials
    exact = binomtest(k, n).proportion_ci(0.9, method="exact")
    assert clopper_pearson(k, n, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("n", [10, 50, 200])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.97])
def test_clopper_pearson_covers_at_least_as_stated(n: int, p: float) -> None:
    held = [low <= p <= high for low, high in (clopper_pearson(k, n) for k in range(n + 1))]
    assert binom.pmf(np.arange(n + 1), n, p)[held].sum() >= 0.95


def test_no_data_says_nothing() -> None:
    empty = proportion(0, 0)
    assert math.isnan(empty.value)
    assert empty[1:] == (0.0, 1.0, 0)
    assert paired_difference([], [])[1:] == (-1.0, 1.0, 0)


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="k = 3 must lie between 0 and n = 2"):
        clopper_pearson(3, 2)


def test_confidence_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"confidence = 95"):
        clopper_pearson(1, 2, 95)


def test_copies_of_a_prompt_are_no_more_evidence_than_one() -> None:
    once = mean_outcome([1, 0, 1, 1], groups=["a", "b", "c", "d"])
    thrice = mean_outcome([1, 0, 1, 1] * 3, groups=["a", "b", "c", "d"] * 3)
    assert effective_size(["a", "b", "c", "d"] * 3) == pytest.approx(4)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.n == 12


def test_mean_of_distinct_binary_outcomes_is_exact() -> None:
    assert mean_outcome([1] * 7 + [0] * 3) == pytest.approx(proportion(7, 10))


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither", "low", "high"),
    [
        (36, 12, 2, 0, 0.0569, 0.3404),  # Newcombe (1998), method 10, to the four places printed there
        (20, 0, 0, 10, -0.0722, 0.0722),  # phi = (200 - 15) / 200; Wilson (0.488, 0.808)
        (30, 0, 0, 0, -0.1135, 0.1135),  # z² / (n + z²) on both sides
    ],
)
def test_paired_difference_gives_newcombes_intervals(
    both: int, only_a: int, only_b: int, neither: int, low: float, high: float
) -> None:
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    found = paired_difference(a, b)
    assert found.value == pytest.approx((only_a - only_b) / len(a))
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("cells", [(0.8, 0.1, 0.05), (0.9, 0.0, 0.02), (0.5, 0.2, 0.1)])
@pytest.mark.parametrize("n", [40, 200])
def test_paired_difference_covers_in_simulation(cells: tuple[float, float, float], n: int) -> None:
    both, only_a, only_b = cells
    draws = np.random.default_rng(7).choice(4, size=(800, n), p=[both, only_a, only_b, 1 - sum(cells)])
    found = [paired_difference(k <= 1, (k == 0) | (k == 2)) for k in draws]
    covered = np.mean([e.low <= only_a - only_b <= e.high for e in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 800)


def test_paired_difference_covers_when_prompts_repeat() -> None:
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 5)
    covered = []
    for _ in range(300):
        kinds = generator.choice(4, size=60, p=[0.6, 0.2, 0.1, 0.1])[groups]
        found = paired_difference(kinds <= 1, (kinds == 0) | (kinds == 2), groups=groups)
        covered.append(found.low <= 0.1 <= found.high)
    assert np.mean(covered) >= 0.93


def test_pairs_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="a has 2 outcomes and b has 1"):
        paired_difference([1, 0], [1])


def test_outcomes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got .*2"):
        mean_outcome([0, 2])


def test_bootstrap_resamples_rows_together_and_repeats_with_its_seed() -> None:
    x = np.arange(50.0)
    assert bootstrap(lambda a, b: float((a - b).max()), x, x, draws=50) == (0.0, 0.0, 0.0, 50)
    mean = [bootstrap(lambda a: float(a.mean()), x, draws=100, seed=s) for s in (1, 1, 2)]
    assert mean[0] == mean[1] != mean[2]


def test_bootstrap_by_group_is_wider_than_by_row() -> None:
    values = np.repeat(np.random.default_rng(0).random(20), 10)
    rows = bootstrap(lambda a: float(a.mean()), values, draws=400)
    grouped = bootstrap(lambda a: float(a.mean()), values, groups=np.repeat(np.arange(20), 10), draws=400)
    assert grouped.high - grouped.low > 2 * (rows.high - rows.low)


def test_bootstrap_of_a_mean_covers_in_simulation() -> None:
    generator = np.random.default_rng(5)
    covered = []
    for trial in range(150):
        found = bootstrap(lambda a: float(a.mean()), generator.random(80), draws=200, seed=trial)
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) >= 0.9


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 5))
def test_weights_draw_as_many_groups_as_there_are_and_rows_of_a_group_alike(
    groups: list[int], seed: int
) -> None:
    (weights,) = resampled_weights(len(groups), groups=groups, draws=7, seed=seed)
    assert weights.shape == (7, len(groups))
    for row in weights:
        by_group = {g: {w for h, w in zip(groups, row, strict=True) if h == g} for g in groups}
        assert all(len(seen) == 1 for seen in by_group.values())
        assert sum(seen.pop() for seen in by_group.values()) == len(by_group)


def test_undefined_resamples_widen_both_ends() -> None:
    values = np.concatenate([np.full(10, np.nan), np.linspace(0, 1, 90)])
    assert percentile_interval(values) == (-math.inf, math.inf)
    assert percentile_interval(np.linspace(0, 1, 81), 0.5) == pytest.approx((0.25, 0.75))
