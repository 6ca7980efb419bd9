"""Quantiles and the coverage of their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evals.metrics.quantile import quantile


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("n", [5, 60, 73, 400])
def test_the_interval_covers_with_the_confidence(n: int, share: float) -> None:
    """By the binomial: the value at rank i is below the quantile iff at least i of n are."""
    found = quantile(range(1, n + 1), share)  # each value is its own rank
    low = 0 if math.isinf(found.low) else int(found.low)
    high = n + 1 if math.isinf(found.high) else int(found.high)
    covered = binom.cdf(high - 1, n, share) - binom.cdf(low - 1, n, share)
    assert covered >= 0.95
    shorter = binom.cdf(high - 2, n, share) - binom.cdf(low, n, share)
    assert shorter < 0.95, "an interval one rank shorter on both sides would not cover"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.05, 0.95))
def test_the_interval_holds_the_value(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found.low <= found.value <= found.high
    assert found.value in values


def test_few_values_do_not_bound_the_tail() -> None:
    assert quantile([1.0, 2.0, 3.0], 0.95).high == math.inf


def test_no_values_have_no_quantile() -> None:
    found = quantile([], 0.5)
    assert math.isnan(found.value)
    assert found.n == 0


def test_it_covers_in_simulation() -> None:
    generator = np.random.default_rng(2)
    truth = -math.log(0.05)
    covered = sum(
        found.low <= truth <= found.high
        for found in (quantile(generator.exponential(size=120), 0.95) for _ in range(1000))
    )
    assert covered / 1000 >= 0.94
