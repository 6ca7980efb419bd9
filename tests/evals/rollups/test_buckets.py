"""Quantiles of counts are in the bucket of the true quantile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.rollups.buckets import BOUNDS, BUCKETS, RATIO, added, bucket_of, quantile, trimmed

times = st.lists(st.floats(0.001, 600_000), min_size=1, max_size=60)


def counted(values: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for value in values:
        counts[bucket_of(value)] += 1
    return counts


@given(times, st.floats(0, 1))
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    true = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = quantile(counted(values), share)
    assert bucket_of(found) == bucket_of(true)
    if true > BOUNDS[0]:
        assert 1 / RATIO <= found / true <= RATIO


@given(times, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_with_their_share(values: list[float], one: float, other: float) -> None:
    counts = counted(values)
    assert quantile(counts, min(one, other)) <= quantile(counts, max(one, other))


@given(times, times, st.floats(0, 1))
def test_added_counts_are_those_of_all_times(values: list[float], more: list[float], share: float) -> None:
    both = added([trimmed(counted(values)), trimmed(counted(more))])
    assert both == trimmed(counted(values + more))
    assert quantile(both, share) == quantile(counted(values + more), share)


def test_bounds_go_from_a_millisecond_to_ten_minutes_and_bound_their_bucket() -> None:
    assert BOUNDS[0] == 1.0
    assert BOUNDS[-2] < 600_000 < BOUNDS[-1]
    for number, bound in enumerate(BOUNDS):
        assert bucket_of(bound) == number
        assert bucket_of(bound * 1.0001) == number + 1


def test_what_is_above_all_bounds_is_given_as_the_last_and_nothing_as_nothing() -> None:
    assert quantile(counted([1e9]), 0.5) == BOUNDS[-1]
    assert math.isnan(quantile([], 0.5))
    with pytest.raises(ValueError, match="share"):
        quantile([1], 1.5)
