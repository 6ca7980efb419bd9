"""Tests of not being worse: exact size by enumeration, power, the ends of intervals, graded scores."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, xlogy

from evals.metrics.intervals import Floats
from evals.metrics.noninferiority import (
    by_prompt,
    mean_with_bounds,
    p_not_worse,
    p_worse,
    prompts_needed,
    smallest_loss_seen,
    split_of,
)

ALPHA = 0.05


def differences(better: int, worse: int, n: int) -> Floats:
    return np.array([1.0] * better + [-1.0] * worse + [0.0] * (n - better - worse))


@cache
def tables(n: int) -> list[tuple[int, int]]:
    return [(better, worse) for better in range(n + 1) for worse in range(n + 1 - better)]


@cache
def p_values(n: int, margin: float, *, loss: bool) -> Floats:
    test = p_worse if loss else p_not_worse
    return np.array([test(differences(*table, n), margin) for table in tables(n)])


def chance_of(n: int, better: float, worse: float) -> Floats:
    """The probability of each table."""
    b, c = np.array(tables(n)).T
    a = n - b - c
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(a + 1)
    return np.asarray(np.exp(ways + xlogy(b, better) + xlogy(c, worse) + xlogy(a, 1 - better - worse)))


@pytest.mark.parametrize("better", [0.0, 0.003, 0.02, 0.1, 0.25, 0.42])
@pytest.mark.parametrize("beyond", [0.0, 0.05])
def test_one_that_loses_the_margin_or_more_passes_with_alpha_at_most(better: float, beyond: float) -> None:
    n, margin = 30, 0.1
    chance = chance_of(n, better, better + margin + beyond)
    assert chance.sum() == pytest.approx(1)
    assert chance[p_values(n, margin, loss=False) <= ALPHA].sum() <= ALPHA + 1e-9


@pytest.mark.parametrize("better", [0.0, 0.003, 0.02, 0.1, 0.25, 0.42])
@pytest.mark.parametrize("within", [0.0, 0.05])
def test_one_that_loses_the_margin_or_less_is_stopped_with_alpha_at_most(
    better: float, within: float
) -> None:
    n, margin = 30, 0.1
    chance = chance_of(n, better, better + margin - within)
    assert chance[p_values(n, margin, loss=True) <= ALPHA].sum() <= ALPHA + 1e-9


def test_the_test_is_not_needlessly_careful() -> None:
    n, margin = 30, 0.1
    chance = chance_of(n, 0.1, 0.2)
    assert chance[p_values(n, margin, loss=False) <= ALPHA].sum() > 0.03
    better = chance_of(n, 0.3, 0.05)
    assert better[p_values(n, margin, loss=False) <= ALPHA].sum() > 0.9


def test_without_disagreement_it_is_the_binomial() -> None:
    for n in (50, 148, 149):
        assert p_not_worse(np.zeros(n), 0.02) == pytest.approx(0.98**n, abs=2e-4)
    assert prompts_needed(0.02, ALPHA) == 149
    assert p_not_worse(np.zeros(149), 0.02) <= ALPHA < p_not_worse(np.zeros(148), 0.02)


def test_one_that_hardly_differs_is_not_far_worse() -> None:
    """Nor is it beyond a margin that such rare disagreement could not even come to."""
    assert p_worse(differences(3, 1, 44), 0.4) > 0.9
    assert p_not_worse(differences(3, 1, 44), 0.4) < 0.001


def test_nothing_shows_nothing() -> None:
    assert p_not_worse(np.empty(0), 0.02) == p_worse(np.empty(0), 0.02) == 1.0
    assert mean_with_bounds(np.empty(0), ALPHA)[1:] == (-1.0, 1.0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_wider_margin_is_easier_to_show_and_the_ends_are_where_the_test_turns(
    n: int, data: st.DataObject, margin: float
) -> None:
    better = data.draw(st.integers(0, n))
    found = differences(better, data.draw(st.integers(0, n - better)), n)
    assert p_not_worse(found, margin + 0.05) <= p_not_worse(found, margin) + 1e-3
    ends = mean_with_bounds(found, ALPHA)
    assert -1 <= ends.low <= ends.value <= ends.high <= 1
    assert (p_not_worse(found, margin) <= ALPHA) == (ends.low > -margin) or abs(ends.low + margin) < 1e-3
    assert (p_worse(found, margin) <= ALPHA) == (ends.high < -margin) or abs(ends.high + margin) < 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_it_never_both_is_worse_and_is_not(n: int, data: st.DataObject, margin: float) -> None:
    better = data.draw(st.integers(0, n))
    found = differences(better, data.draw(st.integers(0, n - better)), n)
    assert p_not_worse(found, margin) > ALPHA or p_worse(found, margin) > ALPHA


@pytest.mark.parametrize(("n", "level"), [(30, 0.05), (100, 0.05 / 8)])
def test_the_smallest_loss_that_is_seen_is_seen_four_times_of_five(n: int, level: float) -> None:
    loss = smallest_loss_seen(n, 0.02, level)
    assert loss is not None
    lost = np.arange(n + 1)
    chance = np.exp(
        gammaln(n + 1)
        - gammaln(lost + 1)
        - gammaln(n - lost + 1)
        + xlogy(lost, loss)
        + xlogy(n - lost, 1 - loss)
    )
    found = np.array([p_worse(differences(0, int(k), n), 0.02) <= level for k in lost])
    assert chance[found].sum() == pytest.approx(0.8, abs=1e-6)
    assert smallest_loss_seen(2, 0.02, level) is None
    assert smallest_loss_seen(0, 0.02, level) is None


def test_graded_scores_that_lose_the_margin_pass_with_alpha_at_most() -> None:
    generator = np.random.default_rng(1)
    margin, n, runs = 0.1, 80, 500
    rare = np.where(generator.random((runs, n)) < margin / 0.9, -0.9, 0.0)  # now and then a great loss
    passed = np.mean([p_not_worse(row, margin) <= ALPHA for row in rare])
    assert split_of(rare[0]) is None
    assert passed <= ALPHA + 2 * math.sqrt(ALPHA / runs)
    stopped = np.mean([p_worse(row, margin) <= ALPHA for row in rare])
    assert stopped <= ALPHA + 2 * math.sqrt(ALPHA / runs)


def test_graded_scores_that_are_alike_pass_and_much_worse_ones_are_found() -> None:
    generator = np.random.default_rng(2)
    alike, worse = generator.normal(0, 0.1, 200).clip(-1, 1), generator.normal(-0.4, 0.2, 60).clip(-1, 1)
    assert p_not_worse(alike, 0.1) < 0.001 < ALPHA < p_worse(alike, 0.1)
    assert p_worse(worse, 0.1) < 0.001 < ALPHA < p_not_worse(worse, 0.1)
    ends = mean_with_bounds(alike, ALPHA)
    assert -0.1 < ends.low < ends.value < ends.high < 0.1


def test_a_prompt_counts_once_and_what_lacks_a_score_not_at_all() -> None:
    first = [1.0, 0.0, 1.0, np.nan, 0.5]
    second = [0.0, 0.0, 1.0, 1.0, 1.0]
    assert sorted(by_prompt(first, second, ["a", "a", "b", "c", "d"]).tolist()) == [-0.5, 0.0, 0.5]
    assert by_prompt([np.nan], [1.0], ["a"]).size == 0
