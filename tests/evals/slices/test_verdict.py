"""Verdicts keep their confidence over all slices, and say honestly what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from evals.slices.verdict import May, Regrets, count_regrets, judge_slice, labels_needed
from router.fitting.bound import clopper_pearson_upper, prompts_needed

EPSILON, DELTA = 0.05, 0.05


def regrets(some: int, prompts: int) -> Regrets:
    return Regrets(prompts, some, some, some / prompts if prompts else 0.0)


def may(some: int, prompts: int, *, slices: int = 1, epsilon: float = EPSILON) -> May:
    return judge_slice(regrets(some, prompts), epsilon=epsilon, delta=DELTA, slices=slices).may


def test_a_regret_is_strong_right_and_small_wrong() -> None:
    counted = count_regrets([1, 1, 0, 0, 0.9, 0.4], [0, 1, 0, 1, 0.2, 0.1], list("abcdef"))
    assert counted == Regrets(prompts=6, some=2, always=2, by_request=2 / 6)


def test_a_prompt_counts_once_however_often_it_was_asked() -> None:
    counted = count_regrets([1] * 5, [0, 0, 0, 1, 1], ["a", "a", "b", "b", "c"])
    assert counted == Regrets(prompts=3, some=2, always=1, by_request=3 / 5)


def test_yes_needs_the_upper_bound_and_no_the_lower() -> None:
    assert may(0, 59) is May.YES
    assert may(0, 58) is May.NEED
    assert may(10, 59) is May.NO
    assert may(5, 59) is May.NO_UNLESS


def test_no_labels_need_as_many_as_a_bound_does() -> None:
    verdict = judge_slice(regrets(0, 0), epsilon=EPSILON, delta=DELTA, slices=4)
    assert (verdict.may, verdict.more) == (May.NEED, prompts_needed(EPSILON, DELTA / 4))
    assert (verdict.low, verdict.high) == (0.0, 1.0)


def test_more_slices_ask_for_more_labels() -> None:
    needs = [
        judge_slice(regrets(0, 10), epsilon=EPSILON, delta=DELTA, slices=m).more or 0 for m in (1, 5, 40)
    ]
    assert needs == sorted(set(needs))


def test_a_prompt_that_is_asked_often_and_regretted_stops_a_yes() -> None:
    strong, small = np.ones(400), np.r_[np.zeros(100), np.ones(300)]
    prompts = ["often"] * 100 + [f"p{i}" for i in range(300)]
    verdict = judge_slice(count_regrets(strong, small, prompts), epsilon=EPSILON, delta=DELTA, slices=1)
    assert verdict.high <= EPSILON
    assert verdict.may is May.NO_UNLESS
    assert "25.0% of requests" in verdict.why


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from((0.01, 0.05, 0.2)), st.integers(1, 40))
def test_the_verdict_agrees_with_the_bounds(some: int, others: int, epsilon: float, slices: int) -> None:
    n = some + others
    verdict = judge_slice(regrets(some, n), epsilon=epsilon, delta=DELTA, slices=slices)
    if n:
        assert verdict.high == pytest.approx(clopper_pearson_upper(some, n, DELTA / slices), abs=1e-9)
    assert (verdict.may is May.YES) == (n > 0 and verdict.high <= epsilon)
    assert (verdict.may is May.NO) == (n > 0 and verdict.low >= epsilon)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 600), st.integers(2, 6), st.integers(1, 20))
def test_more_labels_at_the_same_rate_never_take_a_yes_back(
    some: int, n: int, times: int, slices: int
) -> None:
    if some <= n and may(some, n, slices=slices) is May.YES:
        assert may(some * times, n * times, slices=slices) is May.YES


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(1, 400), st.integers(1, 10))
def test_the_number_of_labels_needed_is_the_smallest_that_is_enough(some: int, n: int, slices: int) -> None:
    level = DELTA / slices
    if some >= EPSILON * n:
        assert labels_needed(some, n, EPSILON, level) == (None if some else prompts_needed(EPSILON, level))
        return
    found = labels_needed(some, n, EPSILON, level)
    if found is None:
        return
    sizes = np.arange(1, found + 1)
    expected = np.maximum(np.ceil(some * sizes / n - 1e-9), some)
    passes = binom.cdf(expected, sizes, EPSILON) <= level
    assert passes[-1]
    assert not passes[:-1].any()


def test_a_rate_above_what_is_allowed_is_helped_by_no_number() -> None:
    verdict = judge_slice(regrets(6, 100), epsilon=EPSILON, delta=DELTA, slices=1)
    assert (verdict.may, verdict.more) == (May.NO_UNLESS, None)
    assert verdict.at_best is not None
    assert may(6, 100 + verdict.at_best) is May.YES
    assert may(6, 99 + verdict.at_best) is not May.YES


def test_over_all_slices_a_wrong_yes_is_as_rare_as_promised() -> None:
    """Each of ten slices has a true regret just above what is allowed; any yes is wrong."""
    rng, slices, draws, n = np.random.default_rng(0), 10, 3000, 300
    counts = rng.binomial(n, EPSILON * 1.001, size=(draws, slices))
    said = {k: may(int(k), n, slices=slices) for k in np.unique(counts)}
    wrong = np.array([any(said[k] is May.YES for k in row) for row in counts]).mean()
    assert wrong <= DELTA
    alone = {k: may(int(k), n, slices=1) for k in np.unique(counts)}
    uncorrected = np.array([any(alone[k] is May.YES for k in row) for row in counts]).mean()
    assert uncorrected > 2 * DELTA  # what the correction is for


def test_over_all_slices_a_wrong_no_is_as_rare_as_promised() -> None:
    rng, slices, draws, n = np.random.default_rng(1), 10, 3000, 300
    counts = rng.binomial(n, EPSILON, size=(draws, slices))
    said = {k: may(int(k), n, slices=slices) for k in np.unique(counts)}
    assert np.array([any(said[k] is May.NO for k in row) for row in counts]).mean() <= DELTA


def test_a_slice_that_may_step_down_is_found() -> None:
    rng = np.random.default_rng(2)
    found = [may(int(k), 400, slices=10) is May.YES for k in rng.binomial(400, EPSILON / 10, size=500)]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"delta": 1.0}, {"slices": 0}])
def test_impossible_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no verdict at"):
        judge_slice(regrets(0, 10), **{"epsilon": EPSILON, "delta": DELTA, "slices": 1, **wrong})  # type: ignore[arg-type]
