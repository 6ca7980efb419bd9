"""Today's clusters take up yesterday's ids by what they share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evals.slices.matching import match, terms_changed

labels = st.lists(st.integers(-1, 4), min_size=1, max_size=60)


def test_a_cluster_continues_the_one_that_it_shares_most_with() -> None:
    yesterday = np.array([0] * 10 + [1] * 10 + [-1] * 10)
    today = np.array([2] * 10 + [0] * 9 + [1] * 11)
    assert match(today, yesterday, 3, 2) == [1, None, 0]


def test_a_split_cluster_goes_on_in_its_larger_part() -> None:
    assert match(np.array([0] * 3 + [1] * 7), np.zeros(10, dtype=int), 2, 1) == [None, 0]


def test_a_cluster_that_shares_little_is_new() -> None:
    assert match(np.zeros(10, dtype=int), np.array([0] * 2 + [-1] * 8), 1, 1) == [None]


@given(labels, st.permutations(range(5)), st.randoms())
def test_the_same_clusters_are_found_under_other_numbers(
    found: list[int], other: list[int], random: object
) -> None:
    yesterday = np.array(found)
    today = np.array([other[i] if i >= 0 else -1 for i in found])
    matched = match(today, yesterday, 5, 5)
    assert all(matched[other[i]] == i for i in set(found) if i >= 0)


@given(labels, labels)
def test_no_cluster_of_yesterday_is_continued_twice(today: list[int], yesterday: list[int]) -> None:
    n = min(len(today), len(yesterday))
    matched = [i for i in match(np.array(today[:n]), np.array(yesterday[:n]), 5, 5) if i is not None]
    assert len(matched) == len(set(matched))


def test_a_name_stays_while_its_words_do() -> None:
    assert not terms_changed(("a", "b", "c", "x"), ("a", "b", "c", "d"))
    assert terms_changed(("x", "y", "z"), ("a", "b", "c"))
