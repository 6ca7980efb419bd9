"""Corrections for several comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.holm import holm, joint_confidence

P_VALUES = st.lists(st.floats(0, 1), max_size=20)


def test_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(P_VALUES)
def test_a_correction_never_flatters_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    for i, p in enumerate(p_values):
        assert all(adjusted[i] <= adjusted[j] for j, q in enumerate(p_values) if p < q)


@given(P_VALUES)
def test_it_is_never_stricter_than_bonferroni(p_values: list[float]) -> None:
    assert all(q <= min(1.0, len(p_values) * p) for p, q in zip(p_values, holm(p_values), strict=True))


@given(st.floats(0, 1))
def test_one_comparison_is_left_as_it_is(p: float) -> None:
    assert holm([p]) == [p]


def test_the_family_errs_in_at_most_alpha_of_runs() -> None:
    generator = np.random.default_rng(1)
    wrong = sum(min(holm(generator.random(10).tolist())) <= 0.05 for _ in range(4000))
    assert wrong / 4000 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


def test_joint_confidence() -> None:
    assert joint_confidence(0.95, 5) == pytest.approx(0.99)
    assert joint_confidence(0.95, 1) == joint_confidence(0.95, 0) == pytest.approx(0.95)
