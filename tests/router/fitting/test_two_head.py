"""The estimator keeps scikit-learn's contract, its calibration, and its peace on degenerate labels."""

# scikit-learn names matrices X.
# ruff: noqa: N806

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet
from scipy import sparse
from sklearn.utils.estimator_checks import estimator_checks_generator

from router.fitting.quality import calibration_error
from router.fitting.two_head import TwoHeadClassifier
from router.fitting.vectors import PromptVectors

# These two want the probabilities of one label's classes; `test_sparse_and_dense_agree` stands for them.
NOT_ITS_SHAPE = ("check_estimator_sparse_array", "check_estimator_sparse_matrix")
NOT_CLAIMED = "check_array_api_input"  # an experiment of scikit-learn's, off by default


def scikit_learn_contract() -> Iterator[ParameterSet]:
    for estimator, check in estimator_checks_generator(TwoHeadClassifier()):
        name = check.func.__name__
        misfit = pytest.mark.xfail(reason="a head gives one probability a row", strict=True)
        if name != NOT_CLAIMED:
            yield pytest.param(estimator, check, id=name, marks=misfit if name in NOT_ITS_SHAPE else ())


@pytest.mark.parametrize(("estimator", "check"), list(scikit_learn_contract()))
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], object]) -> None:
    assert callable(check)
    assert check(estimator) is None  # it raises where the contract is broken


def some_rows(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, their true probabilities and labels drawn from them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    logits = np.column_stack((X[:, 0] + 1.5, 2 * X[:, 0] - 1.5 * X[:, 1]))
    p = 1 / (1 + np.exp(-logits))
    return X, p, rng.random(p.shape) < p


def test_it_learns_both_heads_and_their_gain() -> None:
    X, p, y = some_rows(3000)
    heads = TwoHeadClassifier().fit(X[:2000], y[:2000])
    assert np.abs(heads.predict_proba(X[2000:]) - p[2000:]).mean() < 0.05
    gain = heads.predict_gain(X[2000:])
    np.testing.assert_allclose(gain, heads.predict_proba(X[2000:]) @ [1, -1])
    assert np.corrcoef(gain, p[2000:] @ [1, -1])[0, 1] > 0.95


def test_calibration_undoes_strong_regularisation() -> None:
    X, _, y = some_rows(3000)
    heads = TwoHeadClassifier(strengths=(0.001,)).fit(X[:2000], y[:2000])
    p = heads.predict_proba(X[2000:])
    assert p[:, 1].std() > 0.2
    assert calibration_error(y[2000:, 1], p[:, 1]) < 0.06


def test_regularisation_is_as_strong_as_the_labels_are_noisy() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 60)) * 0.3
    y = np.column_stack((X[:, 0] > 0, rng.random(300) < 0.5))
    assert TwoHeadClassifier(strengths=(0.01, 30.0)).fit(X, y).strengths_.tolist() == [30.0, 0.01]


def test_out_of_fold_probabilities_do_not_know_their_own_label() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 400)), rng.random((120, 2)) < 0.5
    heads = TwoHeadClassifier().fit(X, y)
    right, wrong = heads.oof_proba_[y[:, 0], 0], heads.oof_proba_[~y[:, 0], 0]
    assert right.mean() - wrong.mean() < 0.1


def test_a_group_is_never_on_both_sides() -> None:
    # Each row stands there twice: with its twin in the fit the labels, which are noise, look learnable.
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(100, 300)), rng.random((100, 2)) < 0.5
    fold = np.tile(np.arange(100) % 5, 2)
    twice = TwoHeadClassifier().fit(np.vstack((X, X)), np.vstack((y, y)), fold)
    good = np.tile(y[:, 0], 2)
    assert twice.oof_proba_[good, 0].mean() - twice.oof_proba_[~good, 0].mean() < 0.1


def test_sparse_and_dense_agree() -> None:
    X, _, y = some_rows()
    dense, thin = TwoHeadClassifier().fit(X, y), TwoHeadClassifier().fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(dense.predict_proba(X), thin.predict_proba(sparse.csr_matrix(X)), atol=1e-5)


@pytest.mark.parametrize("value", [0, 1])
def test_a_head_whose_labels_are_all_alike_is_constant(value: int) -> None:
    X, _, y = some_rows(80)
    y[:, 0] = value
    p = TwoHeadClassifier().fit(X, y).predict_proba(X)
    assert np.ptp(p[:, 0]) == 0
    assert p[0, 0] == pytest.approx((80 * value + 0.5) / 81)
    assert np.ptp(p[:, 1]) > 0.1


@pytest.mark.parametrize("n", [2, 3, 5])
def test_very_few_rows(n: int) -> None:
    X, _, _ = some_rows(n)
    y = np.arange(2 * n).reshape(n, 2) % 3 == 0
    p = TwoHeadClassifier().fit(X, y).predict_proba(X)
    assert ((p > 0) & (p < 1)).all()


def test_a_single_label_of_its_kind() -> None:
    X, _, _ = some_rows(50)
    y = np.zeros((50, 2))
    y[7] = 1
    p = TwoHeadClassifier().fit(X, y).predict_proba(X)
    assert np.isfinite(p).all()
    assert p.mean() < 0.1


def test_labels_that_say_nothing_never_turn_the_ranking_round() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200, 50))
    for seed in range(5):
        y = np.random.default_rng(seed).random((200, 2)) < 0.5
        p = TwoHeadClassifier().fit(X, y).oof_proba_
        assert ((p > 0.15) & (p < 0.85)).all()


def test_gain_needs_two_heads() -> None:
    X, _, y = some_rows(80)
    with pytest.raises(ValueError, match="2 heads"):
        TwoHeadClassifier().fit(X, y[:, :1]).predict_gain(X)


def test_vectors_have_settings_like_an_estimator() -> None:
    assert PromptVectors(min_prompts=3).get_params()["min_prompts"] == 3
