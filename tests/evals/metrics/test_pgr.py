"""Cost-quality curves against curves computed the long way."""

from __future__ import annotations

import itertools
import math
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evals.metrics.intervals import Floats
from evals.metrics.pgr import (
    apgr,
    bootstrap_curve,
    cost_quality_curve,
    cpt,
    curve_apgr,
    curve_band,
    curve_cpt,
    quality_at,
)

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=5)


def by_hand(order: list[int], strong: list[int], small: list[int]) -> list[float]:
    """Quality with the first 0, 1, …, n requests of an order sent to strong."""
    n = len(order)
    return [
        sum(strong[i] if place < k else small[i] for place, i in enumerate(order)) / n for k in range(n + 1)
    ]


@given(ROWS)
def test_curve_is_the_mean_over_all_orders_that_the_scores_allow(rows: list[tuple[int, int, int]]) -> None:
    scores, strong, small = (list(column) for column in zip(*rows, strict=True))
    orders = [
        list(order)
        for order in itertools.permutations(range(len(rows)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    expected = np.mean([by_hand(order, strong, small) for order in orders], axis=0)
    curve = cost_quality_curve(scores, strong, small)
    got = [quality_at(curve, k / len(rows)) for k in range(len(rows) + 1)]
    assert got == pytest.approx(list(expected))


@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_scale_do_not_matter(rows: list[tuple[int, int, int]], random: Random) -> None:
    assume(sum(s - w for _, s, w in rows) > 0)
    shuffled = list(rows)
    random.shuffle(shuffled)
    (s0, a0, b0), (s1, a1, b1) = zip(*rows, strict=True), zip(*shuffled, strict=True)
    assert apgr(s0, a0, b0) == pytest.approx(apgr(np.exp(s1), a1, b1))
    assert cpt(s0, a0, b0, 0.5) == pytest.approx(cpt(np.exp(s1), a1, b1, 0.5))


def test_known_values() -> None:
    strong, small = [1, 1, 1, 1], [0, 0, 1, 1]
    perfect, worst = [4, 3, 2, 1], [1, 2, 3, 4]
    assert apgr(perfect, strong, small) == pytest.approx(0.75)
    assert apgr(worst, strong, small) == pytest.approx(0.25)
    assert cpt(perfect, strong, small, 0.5) == pytest.approx(0.25)
    assert cpt(perfect, strong, small, 0.8) == pytest.approx(0.4)
    assert cpt(worst, strong, small, 0.5) == pytest.approx(0.75)
    assert cpt(worst, strong, small, 0.0) == 0.0


def test_one_score_for_all_is_the_random_router() -> None:
    strong, small = [1, 1, 0, 1, 1], [0, 1, 1, 0, 1]
    assert apgr(np.zeros(5), strong, small) == pytest.approx(0.5)
    assert cpt(np.zeros(5), strong, small, 0.8) == pytest.approx(0.8)


def test_pgr_is_undefined_where_strong_is_no_better() -> None:
    assert math.isnan(apgr([1, 2], [1, 0], [0, 1]))
    assert math.isnan(cpt([1, 2], [0, 0], [1, 1], 0.5))


def test_a_curve_that_overshoots_counts_where_it_first_reaches() -> None:
    strong, small = [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]
    assert cpt([5, 4, 3, 2, 1], strong, small, 1.0) == pytest.approx(0.2)
    assert apgr([5, 4, 3, 2, 1], strong, small) > 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [([], "got 0, 2 and 2"), ([1.0], "got 1, 2 and 2"), ([math.nan, 1.0], "1 of 2 scores")],
)
def test_bad_scores_are_refused(scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cost_quality_curve(scores, [1, 1], [0, 1])


def test_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="x = 50 must lie"):
        cpt([1, 2], [1, 1], [0, 1], 50)


def simulated(generator: np.random.Generator, n: int) -> tuple[Floats, Floats, Floats]:
    """Scores that say how likely small fails, a strong model right on 90 %, and outcomes."""
    hard = generator.random(n)
    strong, small = generator.random(n) < 0.9, generator.random(n) < 0.9 - 0.6 * hard
    return hard, strong.astype(float), small.astype(float)


def test_bootstrapped_apgr_covers_in_simulation() -> None:
    generator = np.random.default_rng(11)
    truth = apgr(*simulated(generator, 400_000))
    found = [
        bootstrap_curve({"apgr": curve_apgr}, *simulated(generator, 300), draws=300, seed=i)["apgr"]
        for i in range(200)
    ]
    covered = np.mean([e.low <= truth <= e.high for e in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)


def test_bootstrap_agrees_with_one_curve_at_a_time() -> None:
    scores, strong, small = simulated(np.random.default_rng(2), 150)
    found = bootstrap_curve(
        {"apgr": curve_apgr, "cpt": lambda c: curve_cpt(c, 0.5)}, scores, strong, small, draws=200
    )
    assert found["apgr"].value == pytest.approx(apgr(scores, strong, small))
    assert found["cpt"].value == pytest.approx(cpt(scores, strong, small, 0.5))
    assert found["apgr"].low < found["apgr"].value < found["apgr"].high
    assert found["apgr"].n == 150


def test_copies_of_rows_in_one_group_leave_the_interval_as_it_was() -> None:
    scores, strong, small = simulated(np.random.default_rng(4), 100)
    once = bootstrap_curve({"apgr": curve_apgr}, scores, strong, small, groups=np.arange(100), draws=200)
    copies = [np.repeat(x, 4) for x in (scores, strong, small)]
    four = bootstrap_curve({"apgr": curve_apgr}, *copies, groups=np.repeat(np.arange(100), 4), draws=200)
    assert four["apgr"][:3] == pytest.approx(once["apgr"][:3])


def test_band_holds_the_curve_and_closes_on_nothing() -> None:
    scores, strong, small = simulated(np.random.default_rng(6), 300)
    shares = np.linspace(0, 1, 11)
    low, high = curve_band(scores, strong, small, shares)
    middle = [quality_at(cost_quality_curve(scores, strong, small), s) for s in shares]
    assert (low < middle).all()
    assert (middle < high).all()
