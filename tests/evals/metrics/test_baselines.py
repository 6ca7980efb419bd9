"""Baselines see what they may see, and score as they say."""

from __future__ import annotations

import numpy as np
import pytest

from evals.metrics.baselines import (
    knn_scores,
    prompt_length_scores,
    random_scores,
    shuffled_quality,
    slice_mean_scores,
)
from evals.metrics.pgr import apgr


def test_random_is_the_straight_line() -> None:
    assert apgr(random_scores(4), [1, 1, 1, 0], [1, 0, 0, 0]) == pytest.approx(0.5)


def test_long_prompts_go_to_strong_first() -> None:
    assert list(prompt_length_scores(["a", "abc", ""])) == [1, 3, 0]


def test_knn_scores_by_the_gains_of_like_prompts() -> None:
    fit = ["add two numbers please"] * 5 + ["translate the french word"] * 5
    scores = knn_scores(fit, [1.0] * 5 + [0.0] * 5, ["add numbers", "a french word"], neighbours=5)
    assert list(scores) == [1.0, 0.0]


def test_knn_without_a_fit_part_knows_nothing() -> None:
    assert list(knn_scores([], [], ["a", "b"])) == [0.0, 0.0]


def test_slice_mean_of_a_new_slice_is_the_mean_of_all() -> None:
    scores = slice_mean_scores(["x", "x", "y", "y"], [1, 0, 0, 0], ["x", "y", "new"])
    assert list(scores) == [0.5, 0.0, 0.25]


def test_shuffle_keeps_the_coverage_and_loses_the_choice() -> None:
    strong, small = np.ones(100), np.repeat([1.0, 0.0], 50)
    chosen = np.repeat([1.0, 0.0], 50)  # the policy is perfect: no loss at coverage 1/2
    shuffled = shuffled_quality(chosen.mean(), strong, small)
    assert shuffled.value == pytest.approx(0.5 * 0.5 + 0.5 * 1.0)
    assert shuffled.low < 0.75 < shuffled.high
    permuted = [
        np.where(np.random.default_rng(i).permutation(chosen) > 0, small, strong).mean() for i in range(500)
    ]
    assert shuffled.value == pytest.approx(np.mean(permuted), abs=0.01)
