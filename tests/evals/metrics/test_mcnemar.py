"""McNemar's exact test against the binomial distribution, and its error rate by simulation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from evals.metrics.mcnemar import mcnemar, sign_test

OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(OUTCOMES)
def test_it_is_the_binomial_test_of_the_discordant_pairs(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    better, worse = sum(x > y for x, y in pairs), sum(x < y for x, y in pairs)
    found = mcnemar(a, b)
    assert (found.better, found.worse) == (better, worse)
    if better + worse:
        assert np.isclose(found.p, binomtest(better, better + worse).pvalue)
        assert np.isclose(found.p_worse, binom.cdf(better, better + worse, 0.5))
    else:
        assert (found.p, found.p_worse) == (1.0, 1.0)


@given(OUTCOMES)
def test_turned_round_it_says_the_opposite(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    one, other = mcnemar(a, b), mcnemar(b, a)
    assert (one.better, one.worse, one.p) == (other.worse, other.better, other.p)


def test_rows_of_one_group_are_one_trial() -> None:
    a, b, groups = [1] * 10 + [0], [0] * 10 + [1], ["same"] * 10 + ["other"]
    found = mcnemar(a, b, groups=groups)
    assert (found.better, found.worse, found.p) == (1, 1, 1.0)


def test_a_group_that_is_even_says_nothing() -> None:
    assert mcnemar([1, 0], [0, 1], groups=["g", "g"]).better == 0


def test_it_errs_in_at_most_alpha_of_runs_even_with_repeated_prompts() -> None:
    generator = np.random.default_rng(7)
    groups = np.repeat(np.arange(40), 3)
    wrong = 0
    for _ in range(1000):
        a, b = (np.repeat(generator.random(40) < 0.8, 3) for _ in range(2))
        wrong += mcnemar(a, b, groups=groups).p <= 0.05
    assert wrong / 1000 <= 0.05


def test_no_trials_say_nothing() -> None:
    assert sign_test(0, 0) == 1.0
    assert mcnemar([], []).p == 1.0
