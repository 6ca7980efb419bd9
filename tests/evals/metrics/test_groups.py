"""Sums over groups."""

from __future__ import annotations

from evals.metrics.groups import group_sums


def test_rows_of_a_group_are_added() -> None:
    assert sorted(group_sums([1, 2, 4], ["a", "b", "a"])) == [2, 5]


def test_without_groups_each_row_is_its_own() -> None:
    assert group_sums([1, 2], None).tolist() == [1, 2]
    assert group_sums([], ["a"][:0]).size == 0
