"""The sign-flip test against all flips, and its error rate by simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.metrics.sign_flip import sign_flip

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=8)


@given(DIFFERENCES)
@settings(max_examples=25)
def test_it_comes_near_the_share_of_all_flips(differences: list[float]) -> None:
    flips = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    observed = sum(differences)
    low = np.mean([flip <= observed + 1e-9 for flip in flips])
    far = np.mean([abs(flip) >= abs(observed) - 1e-9 for flip in flips])
    found = sign_flip(differences)
    assert found.p == pytest.approx(far, abs=0.03)
    assert found.p_worse == pytest.approx(low, abs=0.03)


def test_groups_flip_together() -> None:
    alone = sign_flip([0.5] * 12)
    together = sign_flip([0.5] * 12, groups=["a"] * 12)
    assert alone.p < 0.01
    assert together.p == 1.0


def test_the_same_seed_gives_the_same_p() -> None:
    generator = np.random.default_rng(0)
    differences = generator.normal(size=30)
    assert sign_flip(differences) == sign_flip(differences)


def test_a_p_value_is_never_zero() -> None:
    assert sign_flip([1.0] * 500, draws=99).p == pytest.approx(0.01)
    assert sign_flip([1.0] * 500, draws=99).p_worse == 1.0
    assert sign_flip([-1.0] * 500, draws=99).p_worse == pytest.approx(0.01)


def test_it_errs_in_at_most_alpha_of_runs() -> None:
    generator = np.random.default_rng(3)
    wrong = sum(
        sign_flip(generator.choice([-1, -0.5, 0, 0.5, 1], size=30), draws=199, seed=i).p <= 0.05
        for i in range(600)
    )
    assert wrong / 600 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_no_differences_say_nothing() -> None:
    assert sign_flip([]) == (1.0, 1.0)
    assert sign_flip([0.0, 0.0]) == (1.0, 1.0)
