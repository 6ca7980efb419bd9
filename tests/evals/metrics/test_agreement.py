"""Agreement: values against scikit-learn's, intervals that hold, and what is not defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from evals.metrics.agreement import agreement, confusion, kappa, krippendorff_alpha

ROWS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(ROWS)
def test_kappa_is_scikit_learns_and_lies_in_its_interval(rows: list[tuple[bool, bool]]) -> None:
    a, b = zip(*rows, strict=True)
    found = kappa(a, b)
    if len({*a, *b}) == 1:  # scikit-learn warns here, and gives NaN too
        assert math.isnan(found.value)
        assert (found.low, found.high) == (-1.0, 1.0)
        return
    assert found.value == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_kappas_interval_holds_the_truth_as_often_as_stated() -> None:
    """A labeller with sensitivity 0.9 and specificity 0.7, and 60 % good answers."""
    cells = np.array([0.54, 0.06, 0.12, 0.28])
    by_chance = 0.6 * 0.66 + 0.4 * 0.34
    true = (0.82 - by_chance) / (1 - by_chance)
    generator, held = np.random.default_rng(0), []
    good, said = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    for counts in generator.multinomial(80, cells, size=1000):
        found = kappa(np.repeat(good, counts), np.repeat(said, counts))
        held.append(found.low <= true <= found.high)
    assert np.mean(held) >= 0.94


def test_the_confusion_counts_what_was_said_of_good_and_bad() -> None:
    found = agreement([1, 1, 1, 0, 0], [1, 1, 0, 1, 0])
    assert found.confusion == (2, 1, 1, 1)
    assert (found.share.value, found.share.n) == (0.6, 5)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.sensitivity.n == 3
    assert (found.specificity.value, found.specificity.n) == (0.5, 2)
    assert found.share.low == pytest.approx(0.1466, abs=1e-4)  # Clopper and Pearson, 3 of 5


def test_rows_of_one_prompt_are_no_more_evidence_than_one() -> None:
    truth, said = [1, 0, 1, 0] * 10, [1, 0, 0, 0] * 10
    once = agreement(truth[:4], said[:4])
    often = agreement(truth, said, groups=list("abcd") * 10)
    assert often.share[:3] == pytest.approx(once.share[:3])
    assert often.kappa[:3] == pytest.approx(once.kappa[:3])
    assert often.share.n == 40


def test_nothing_labelled_says_nothing() -> None:
    found = agreement([], [])
    assert found.confusion.n == 0
    assert math.isnan(found.share.value)
    assert (found.share.low, found.share.high) == (0, 1)
    assert (found.kappa.low, found.kappa.high) == (-1, 1)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows of truth and 2"):
        agreement([1, 0, 1], [1, 0])


def krippendorff_by_definition(good: list[int], labelled: list[int]) -> float:
    """From the coincidence matrix, as in Krippendorff (2011), section C."""
    matrix = np.zeros((2, 2))
    for g, m in zip(good, labelled, strict=True):
        values = [1] * g + [0] * (m - g)
        for i, first in enumerate(values):
            for j, second in enumerate(values):
                if i != j:
                    matrix[first, second] += 1 / (m - 1)
    totals = matrix.sum(axis=0)
    n = totals.sum()
    return float(1 - (n - 1) * matrix[0, 1] / (totals[0] * totals[1]))


@given(st.lists(st.integers(2, 5).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))), min_size=2))
def test_alpha_is_that_of_the_coincidence_matrix(units: list[tuple[int, int]]) -> None:
    good, labelled = [g for g, _ in units], [m for _, m in units]
    found = krippendorff_alpha(good, labelled)
    if sum(good) in (0, sum(labelled)):
        assert math.isnan(found.value)
    else:
        assert found.value == pytest.approx(krippendorff_by_definition(good, labelled))
        assert found.low <= found.high


def test_subjects_that_one_person_labelled_say_nothing_of_agreement() -> None:
    assert krippendorff_alpha([2, 0, 1], [2, 2, 1]).n == 2
    assert krippendorff_alpha([1], [1]).n == 0
    assert krippendorff_alpha([2, 0, 2, 0], [2, 2, 2, 2]) == (1.0, -1.0, 1.0, 4)  # too few to resample
    assert krippendorff_alpha([2, 0, 1] * 30, [2] * 90).high < 0.8


def test_confusion_reads_numbers_as_truth_values() -> None:
    assert confusion([1.0, 0.0], [1, 1]) == (1, 0, 1, 0)
