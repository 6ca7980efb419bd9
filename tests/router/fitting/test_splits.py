"""A split keeps duplicates together and stays as it is while examples come and go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fitting.splits import calibration_mask, first_of_each, fold_numbers, position

GROUPS = st.lists(st.text(max_size=4), min_size=1, max_size=60)


@given(st.text(), st.integers(0, 5))
def test_a_position_is_in_the_unit_interval_and_fixed(group: str, seed: int) -> None:
    assert 0 <= position(group, seed) < 1
    assert position(group, seed) == position(group, seed)


@given(GROUPS, st.lists(st.text(max_size=4)), st.integers(0, 5))
def test_newcomers_move_nobody(groups: list[str], newcomers: list[str], seed: int) -> None:
    before = calibration_mask(groups, 0.4, seed)
    after = calibration_mask(groups + newcomers, 0.4, seed)
    np.testing.assert_array_equal(before, after[: len(groups)])


@given(GROUPS, st.integers(2, 5), st.integers(0, 5))
def test_folds_keep_groups_whole_and_even(groups: list[str], folds: int, seed: int) -> None:
    numbers = fold_numbers(groups, folds, seed)
    of_group: dict[str, set[int]] = {}
    for group, number in zip(groups, numbers, strict=True):
        of_group.setdefault(group, set()).add(int(number))
    assert all(len(found) == 1 for found in of_group.values())
    sizes = np.bincount([next(iter(found)) for found in of_group.values()], minlength=folds)
    assert sizes.max() - sizes.min() <= 1


@given(GROUPS)
def test_first_of_each(groups: list[str]) -> None:
    kept = first_of_each(groups)
    assert [groups[i] for i in kept] == list(dict.fromkeys(groups))
    assert all(groups.index(groups[i]) == i for i in kept)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_share_is_kept_and_the_seed_counts(seed: int) -> None:
    groups = [str(i) for i in range(5000)]
    mask = calibration_mask(groups, 0.4, seed)
    assert abs(mask.mean() - 0.4) < 0.03
    assert (mask != calibration_mask(groups, 0.4, seed + 1)).mean() > 0.3
