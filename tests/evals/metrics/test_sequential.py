"""Evidence by betting: right as often as it says however often one looks, and quick enough to be of use."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.intervals import Floats
from evals.metrics.sequential import (
    FRACTIONS,
    confidence_sequence,
    difference,
    difference_scores,
    e_above,
    e_below,
    unit_means,
)

ALPHA = 0.05
CERTAIN = math.log(1 / ALPHA)
RUNS, LENGTH = 400, 600
# A rate of false alarms that a test with error ALPHA exceeds in RUNS runs less than once in a thousand.
TOLERATED = ALPHA + 3.1 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)


def alarms(one_run: Callable[[np.random.Generator], float]) -> float:
    """The share of runs in which the evidence was, at any time, as large as an alarm needs."""
    return float(np.mean([one_run(np.random.default_rng(seed)) >= CERTAIN for seed in range(RUNS)]))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 0.95])
def test_whoever_looks_always_is_seldom_wrong_about_a_rate(rate: float) -> None:
    assert alarms(lambda chance: e_above(chance.random(LENGTH) < rate, rate).highest) <= TOLERATED
    assert alarms(lambda chance: e_below(chance.random(LENGTH) < rate, rate).highest) <= TOLERATED


def shares(kind: str, length: int = LENGTH) -> Floats:
    if kind == "growing":
        return np.repeat([0.1, 0.5, 0.9], -(-length // 3))[:length]
    return np.full(length, float(kind))


def two_arms(
    chance: np.random.Generator, control: float, treated: float, share: Floats
) -> tuple[Floats, Floats, Floats]:
    drawn = chance.random(share.size) < share
    outcome = chance.random(share.size) < np.where(drawn, treated, control)
    return outcome.astype(float), drawn.astype(float), share


@pytest.mark.parametrize("share", ["0.05", "0.1", "0.5", "growing"])
@pytest.mark.parametrize("control", [0.3, 0.8, 0.98])
def test_whoever_looks_always_is_seldom_wrong_about_two_arms(control: float, share: str) -> None:
    def not_worse(chance: np.random.Generator) -> float:
        scores = difference_scores(*two_arms(chance, control, control, shares(share)))
        return e_below(scores.values, 0.0, low=scores.low, high=scores.high).highest

    def worse_by_the_margin(chance: np.random.Generator) -> float:
        scores = difference_scores(*two_arms(chance, control, control - 0.05, shares(share)))
        return e_above(scores.values, -0.05, low=scores.low, high=scores.high).highest

    assert alarms(not_worse) <= TOLERATED
    assert alarms(worse_by_the_margin) <= TOLERATED


def test_a_share_that_grows_on_the_tests_own_word_does_not_deceive_it() -> None:
    def one_run(chance: np.random.Generator) -> float:
        share, draws, highest = np.empty(0), np.empty((3, 0)), 0.0
        for _ in range(12):
            step = 0.1 if highest < CERTAIN / 2 else 0.5
            share = np.concatenate([share, np.full(50, step)])
            draws = np.hstack([draws, np.array(two_arms(chance, 0.8, 0.75, share[-50:]))])
            scores = difference_scores(draws[0], draws[1], draws[2])
            highest = e_above(scores.values, -0.05, low=scores.low, high=scores.high).highest
        return highest

    assert alarms(one_run) <= TOLERATED


def test_duplicates_that_all_go_the_same_way_count_as_one() -> None:
    """Forty prompts, each asked fifteen times with one outcome: as rows they would deceive any test."""

    def one_run(chance: np.random.Generator, together: bool) -> float:
        prompts = np.repeat(np.arange(40), 15)
        bad = (chance.random(40) < 0.1)[prompts].astype(float)
        rows = unit_means(bad, prompts).means if together else bad
        return e_above(rows, 0.1).highest

    assert alarms(lambda chance: one_run(chance, together=True)) <= TOLERATED
    assert alarms(lambda chance: one_run(chance, together=False)) > 3 * TOLERATED


def test_conversations_are_one_observation_each_however_many_turns() -> None:
    def one_run(chance: np.random.Generator) -> float:
        outcome, drawn, share = two_arms(chance, 0.8, 0.8, shares("0.1", 60))
        turns = np.repeat(np.arange(60), 10)
        means = unit_means(outcome[turns], turns)
        scores = difference_scores(means.means, drawn[means.first // 10], share[means.first // 10])
        return e_below(scores.values, 0.0, low=scores.low, high=scores.high).highest

    assert alarms(one_run) <= TOLERATED


def test_it_is_powerful_enough_to_be_of_use() -> None:
    """Of what is plainly so it is sure soon; medians over runs, in observations."""

    def when(one_run: Callable[[np.random.Generator], Floats]) -> float:
        found = [one_run(np.random.default_rng(seed)) >= CERTAIN for seed in range(50)]
        return float(np.median([np.argmax(path) if path.any() else math.inf for path in found]))

    def harmed(share: str, treated: float) -> Callable[[np.random.Generator], Floats]:
        def path(chance: np.random.Generator) -> Floats:
            scores = difference_scores(*two_arms(chance, 0.9, treated, shares(share, 4000)))
            return e_below(scores.values, 0.0, low=scores.low, high=scores.high).log_e

        return path

    def cleared(chance: np.random.Generator) -> Floats:
        scores = difference_scores(*two_arms(chance, 0.9, 0.9, shares("0.5", 4000)))
        return e_above(scores.values, -0.05, low=scores.low, high=scores.high).log_e

    assert when(lambda chance: e_above(np.ones(10), 0.05).log_e) <= 3
    assert when(lambda chance: e_above(chance.random(2000) < 0.15, 0.05).log_e) < 150
    assert when(harmed("0.1", 0.4)) < 250
    assert when(harmed("0.5", 0.7)) < 200
    assert when(cleared) < 1500


def test_the_confidence_sequence_covers_at_all_times_at_once() -> None:
    missed = []
    for seed in range(100):
        chance = np.random.default_rng(seed)
        scores = difference_scores(*two_arms(chance, 0.8, 0.7, shares("growing", 300)))
        found = difference(scores, alpha=ALPHA)  # the narrowest of all times, for what is out stays out
        missed.append(not found.low <= -0.1 <= found.high)
    assert np.mean(missed) <= 0.12


def test_the_confidence_sequence_narrows_and_is_what_is_not_refuted() -> None:
    scores = difference_scores(*two_arms(np.random.default_rng(1), 0.9, 0.7, shares("0.5", 3000)))
    early = difference(type(scores)(*(column[:300] for column in scores)), alpha=ALPHA)
    late = difference(scores, alpha=ALPHA)
    assert early.low <= late.low < late.value < late.high <= early.high
    assert (late.n, late.high < 0) == (3000, True)
    x, low, high = scores
    for edge, sign in ((late.low, -1), (late.high, 1)):
        evidence = e_above if sign < 0 else e_below
        inside, outside = (
            evidence(x, edge - sign * side * 0.001, low=low, high=high).highest for side in (1, -1)
        )
        assert inside < math.log(2 / ALPHA) <= outside


def test_nothing_seen_says_nothing() -> None:
    assert e_above([], 0.5).now == e_below([], 0.5).highest == 0.0
    scores = difference_scores([], [], [])
    assert difference(scores, alpha=ALPHA)[1:] == (-1.0, 1.0, 0)
    assert confidence_sequence(scores, alpha=ALPHA) == pytest.approx((0.0, 1.0), abs=1e-3)
    assert unit_means([], []).means.size == 0


def test_huge_evidence_neither_overflows_nor_is_lost() -> None:
    for_it = e_above(np.ones(100_000), 0.01)
    assert math.isfinite(for_it.now)
    assert for_it.now > 100_000
    assert e_above(np.zeros(100_000), 0.5).now < -100
    turned = np.concatenate([np.ones(20_000), np.zeros(20_000)])
    assert e_above(turned, 0.5).highest == pytest.approx(e_above(np.ones(20_000), 0.5).now)


def test_what_is_not_as_was_said_is_refused() -> None:
    with pytest.raises(ValueError, match="out of the range"):
        e_above([1.5], 0.5)
    with pytest.raises(ValueError, match=r"mean = 0\.0"):
        e_above([0.5], 0.0)
    with pytest.raises(ValueError, match="share"):
        difference_scores([1.0], [True], [1.0])


def test_units_stand_where_they_first_appeared() -> None:
    found = unit_means([1, 0, 0, 1, 1], ["b", "a", "b", "c", "a"])
    assert found.means.tolist() == [0.5, 0.5, 1.0]
    assert found.first.tolist() == [0, 1, 3]


outcomes = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.floats(0.01, 0.99), st.sampled_from("abc")), max_size=40
)


@given(outcomes)
def test_scores_are_in_the_range_that_was_known_before(rows: list[tuple[float, bool, float, str]]) -> None:
    y, drawn, share, groups = zip(*rows, strict=True) if rows else ((), (), (), ())
    for names in (None, groups):
        scores = difference_scores(y, drawn, share, names)
        assert (scores.low - 1e-9 <= scores.values).all()
        assert (scores.values <= scores.high + 1e-9).all()
        assert (scores.low <= -1 + 1e-9).all()
    alone = difference_scores(y, drawn, share)
    for cut in range(len(rows)):
        before = difference_scores(y[:cut], drawn[:cut], share[:cut])
        assert before.values.tolist() == alone.values[:cut].tolist()  # what came first does not change


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.05, 0.95))
def test_the_capital_is_the_mean_of_what_the_bettors_have(values: list[float], mean: float) -> None:
    capital = [math.prod(1 + f * (x - mean) / mean for x in values) for f in FRACTIONS]
    assert e_above(values, mean).now == pytest.approx(math.log(np.mean(capital)), abs=1e-9)
