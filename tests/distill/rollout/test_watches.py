"""Watches: rates above their limits, and answers slower than those of the model before."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.rollout.watches import Series, Timed, latency_watch, rate_watch

ALPHA = 0.05


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_a_rate_at_its_limit_seldom_alarms_and_one_far_above_does_soon() -> None:
    chance = np.random.default_rng(0)

    def alarmed(rate: float, count: int) -> float:
        runs = [
            rate_watch("w", Series((chance.random(count) < rate).astype(float), names(count)), 0.05, ALPHA)
            for _ in range(200)
        ]
        return float(np.mean([watch.alarm for watch in runs]))

    assert alarmed(0.05, 500) <= 0.1
    assert alarmed(0.5, 30) > 0.9


def test_a_watch_that_has_seen_nothing_says_so_and_is_json() -> None:
    watch = rate_watch("w", Series(), 0.05, ALPHA, "why")
    assert str(watch) == "w: nothing seen (why)"
    assert not watch.alarm
    assert json.loads(json.dumps(watch.numbers(), allow_nan=False))["rate"] is None
    huge = rate_watch("w", Series([1.0] * 2000, names(2000)), 0.01, ALPHA)
    assert json.dumps(huge.numbers(), allow_nan=False)
    assert "e-value above 1e+12" in str(huge)


def test_an_alarm_that_went_off_is_not_taken_back_by_what_comes_later() -> None:
    later = rate_watch("w", Series([1.0] * 5 + [0.0] * 5000, names(5005)), 0.05, ALPHA)
    assert later.alarm


def test_slow_is_what_the_newest_answers_of_the_model_before_make_it() -> None:
    reference = [Timed(n, 100.0) for n in range(20)] + [Timed(1000 + n, 1000.0) for n in range(1000)]
    early = [Timed(100 + n, 151, str(n)) for n in range(3)]
    late = [Timed(5000 + n, 1400, str(n)) for n in range(3)]  # the load has grown, and so has the limit
    assert latency_watch(early, reference, 1.5, ALPHA).rate == 1.0
    found = latency_watch([*late, *early], reference, 1.5, ALPHA)
    assert (found.rate, found.n) == (0.5, 3)  # three conversations, fast once and slow once
    assert found.note == "slower than 1,500 ms"
    assert latency_watch(early, reference[:19], 1.5, ALPHA).n == 0


latencies = st.lists(st.floats(1, 1e6), min_size=20, max_size=1300)


@given(latencies)
def test_the_limit_is_the_95th_percentile_of_the_newest(values: list[float]) -> None:
    reference = [Timed(n, latency) for n, latency in enumerate(values)]
    newest = sorted(values[-1000:])
    p95 = newest[math.ceil(0.95 * len(newest)) - 1]
    above = float(np.nextafter(p95, math.inf))
    assert [latency_watch([Timed(1e9, took)], reference, 1.0, ALPHA).rate for took in (p95, above)] == [0, 1]
