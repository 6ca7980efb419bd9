"""The bound is exact, monotone, and kept: a router that loses more than it promises is rare."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from router.fitting.bound import CERTIFIED, certify, clopper_pearson_upper, most_regrets, prompts_needed

Floats = NDArray[np.float64]
GRID = np.linspace(-1, 1, 101)


def binomial_cdf(events: int, n: int, p: float) -> float:
    exact = Fraction(p)
    return float(sum(math.comb(n, i) * exact**i * (1 - exact) ** (n - i) for i in range(events + 1)))


@given(st.integers(1, 60), st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_upper_bound_is_where_so_few_events_have_probability_delta(
    n: int, data: st.DataObject, delta: float
) -> None:
    events = data.draw(st.integers(0, n - 1))
    assert binomial_cdf(events, n, clopper_pearson_upper(events, n, delta)) == pytest.approx(delta, rel=1e-6)


def test_the_upper_bound_where_all_are_events() -> None:
    assert clopper_pearson_upper(7, 7, 0.05) == 1.0


@pytest.mark.parametrize(
    ("events", "n", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (0, 0, 0.1), (1, 5, 0), (1, 5, 1)]
)
def test_no_bound_of_nonsense(events: int, n: int, delta: float) -> None:
    with pytest.raises(ValueError, match="no bound"):
        clopper_pearson_upper(events, n, delta)


@given(st.floats(0.005, 0.5), st.sampled_from([0.01, 0.05, 0.1]))
def test_fewest_prompts(epsilon: float, delta: float) -> None:
    n = prompts_needed(epsilon, delta)
    assert most_regrets(n, epsilon, delta) >= 0
    assert most_regrets(n - 1, epsilon, delta) == -1 if n > 1 else True


@given(st.integers(1, 500), st.floats(0.005, 0.5), st.sampled_from([0.01, 0.05, 0.1]))
def test_most_regrets_is_the_last_that_passes(n: int, epsilon: float, delta: float) -> None:
    most = most_regrets(n, epsilon, delta)
    if most >= 0:
        assert clopper_pearson_upper(most, n, delta) <= epsilon
    if most < n:
        assert clopper_pearson_upper(most + 1, n, delta) > epsilon


SAMPLES = st.lists(st.tuples(st.floats(-1, 1), st.booleans()), max_size=400)


@settings(max_examples=200)
@given(SAMPLES, st.floats(0.01, 0.6), st.sampled_from([0.05, 0.2]))
def test_as_testing_one_threshold_after_the_other(
    samples: list[tuple[float, bool]], epsilon: float, delta: float
) -> None:
    gains, regrets = np.array([g for g, _ in samples]), np.array([r for _, r in samples], dtype=bool)
    found = certify(gains, regrets, thresholds=GRID, epsilon=epsilon, delta=delta)
    chosen, tested = -math.inf, 0
    for threshold in GRID if samples else ():
        tested += 1
        events = int((regrets & (gains <= threshold)).sum())
        if clopper_pearson_upper(events, len(gains), delta) > epsilon:
            break
        chosen = threshold
    served = int((gains <= chosen).sum())
    assert found.threshold == (chosen if served else -math.inf)
    assert found.served == served
    assert found.coverage == (served / len(samples) if served else 0)
    assert found.regrets == int((regrets & (gains <= found.threshold)).sum())
    assert (found.reason == CERTIFIED) == (served > 0)
    assert found.upper <= epsilon or not served
    assert found.tested == max(tested, 1)


@given(SAMPLES)
def test_a_looser_bound_never_serves_less(samples: list[tuple[float, bool]]) -> None:
    gains, regrets = [g for g, _ in samples], [r for _, r in samples]
    tight, loose = (
        certify(gains, regrets, thresholds=GRID, epsilon=epsilon, delta=0.05) for epsilon in (0.05, 0.1)
    )
    assert tight.coverage <= loose.coverage


def test_too_few_prompts_says_how_many_are_needed() -> None:
    found = certify(np.zeros(60), np.zeros(60, bool), thresholds=GRID, epsilon=0.02, delta=0.05)
    assert (found.coverage, found.threshold) == (0.0, -math.inf)
    assert "n=60 calibration prompts cannot support a quality loss of 0.02 at 0.95 confidence" in found.reason
    assert "0.0487" in found.reason
    assert "at least 149" in found.reason


def test_no_prompts() -> None:
    found = certify([], [], thresholds=GRID, epsilon=0.02, delta=0.05)
    assert (found.coverage, found.n, found.upper) == (0.0, 0, 1.0)
    assert "n=0" in found.reason


def test_regrets_at_the_smallest_threshold() -> None:
    found = certify(np.full(500, -1.0), np.ones(500, bool), thresholds=GRID, epsilon=0.02, delta=0.05)
    assert found.coverage == 0
    assert "500 regrets among n=500" in found.reason


def test_nothing_to_serve() -> None:
    found = certify(np.full(500, 0.9), np.zeros(500, bool), thresholds=[-0.5, 0.1], epsilon=0.02, delta=0.05)
    assert (found.coverage, found.threshold) == (0.0, -math.inf)
    assert "gives no calibration prompt to small" in found.reason


def test_a_small_model_without_regrets_serves_all() -> None:
    found = certify(np.linspace(-1, 1, 500), np.zeros(500, bool), thresholds=GRID, epsilon=0.02, delta=0.05)
    assert (found.coverage, found.threshold, found.regrets) == (1.0, 1.0, 0)


@pytest.mark.parametrize(
    "changes",
    [{"epsilon": 0.0}, {"epsilon": 1.0}, {"delta": 1.5}, {"gains": [math.nan, 0]}, {"regrets": [True]}],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    arguments = {
        "gains": [0.1, 0.2],
        "regrets": [True, False],
        "thresholds": GRID,
        "epsilon": 0.1,
        "delta": 0.1,
    }
    arguments.update(changes)
    gains, regrets = arguments.pop("gains"), arguments.pop("regrets")
    with pytest.raises(ValueError, match=r"epsilon|delta|NaN|alike"):
        certify(gains, regrets, **arguments)  # type: ignore[arg-type]


# P(regret | gain) over a gain uniform in [0, 1], and its integral from 0 to t: the true loss at t.
SHAPES: dict[str, tuple[Callable[[Floats], Floats], Callable[[float], float]]] = {
    "flat": (lambda g: np.full_like(g, 0.1), lambda t: 0.1 * t),
    "rising": (lambda g: 0.4 * g**2, lambda t: 0.4 * t**3 / 3),
    "step": (lambda g: np.where(g > 0.3, 0.5, 0.0), lambda t: 0.5 * max(t - 0.3, 0.0)),
    "misleading": (lambda g: 0.2 * (1 - g), lambda t: 0.2 * (t - t**2 / 2)),
    "at the edge": (lambda g: np.full_like(g, 0.0501), lambda t: 0.0501 * t),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("epsilon", "delta", "n"), [(0.05, 0.1, 200), (0.02, 0.05, 600), (0.1, 0.2, 80)])
def test_the_promise_is_kept(shape: str, epsilon: float, delta: float, n: int) -> None:
    rng = np.random.default_rng(1)
    rate, loss = SHAPES[shape]
    grid, draws, broken = np.linspace(0, 1, 60), 1000, 0
    for _ in range(draws):
        gains = rng.random(n)
        found = certify(gains, rng.random(n) < rate(gains), thresholds=grid, epsilon=epsilon, delta=delta)
        broken += found.coverage > 0 and loss(found.threshold) > epsilon
    # Four standard deviations over the allowed share.
    assert broken / draws <= delta + 4 * math.sqrt(delta * (1 - delta) / draws)
