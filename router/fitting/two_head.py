"""Two heads over one matrix: p(strong good) and p(small good), cross-fitted and calibrated.

Invariant: a probability shown for a row of the fit (`oof_proba_`) comes from a head that never saw the
row's group. The module does not know what a prompt is; a column of the matrix is a number.
"""

# scikit-learn names matrices X; its contract wants that name.
# ruff: noqa: N803, N806

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
GOOD = 0.5


class Line(NamedTuple):
    """A linear function of a row: its value is a logit."""

    coef: Floats
    intercept: float

    def __call__(self, X: Any) -> Floats:
        """The logit of each row."""
        return np.asarray(X @ self.coef).ravel() + self.intercept


class Head(NamedTuple):
    """A fitted head.

    Attributes:
        line: The calibrated logit.
        oof: Its out-of-fold value for each row of the fit. (n,)
        strength: The inverse regularisation chosen.
    """

    line: Line
    oof: Floats
    strength: float


class TwoHeadClassifier(BaseEstimator):  # type: ignore[misc]
    """One calibrated logistic regression for each column of y.

    The strength of each head's regularisation is the one with the least out-of-fold log loss; Platt
    scaling is fitted on the out-of-fold logits and folded into the coefficients.

    Args:
        strengths: Inverse regularisation strengths to choose from.
        folds: Folds of the cross-fitting; fewer where there are fewer groups.
        seed: Seed of the folds where no groups are given.

    Attributes:
        coef_: (heads, columns).
        intercept_: (heads,).
        oof_proba_: Out-of-fold probabilities of the rows of the fit. (n, heads)
        strengths_: The strength chosen for each head. (heads,)
    """

    def __init__(
        self, *, strengths: Sequence[float] = (0.1, 0.3, 1.0), folds: int = 5, seed: int = 0
    ) -> None:
        self.strengths = strengths
        self.folds = folds
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike, fold: ArrayLike | None = None) -> TwoHeadClassifier:
        """Fit both heads.

        Args:
            X: Dense or sparse matrix. (n, columns)
            y: A column for each head, strong first; a value of at least 0.5 is good. (n, heads)
            fold: The fold of each row, which keeps groups whole; None draws folds of single rows.
        """
        X, checked = validate_data(self, X, y, accept_sparse="csr", multi_output=True, dtype=np.float64)
        labels = np.asarray(checked, dtype=np.float64).reshape(len(checked), -1) >= GOOD
        numbers = _shuffled(len(labels), self.folds, self.seed) if fold is None else np.asarray(fold)
        # One thread: the vectors are too short to share, and idle threads spin on a busy machine.
        with threadpool_limits(limits=1):
            heads = [_fit_head(X, label, numbers, self.strengths) for label in labels.T]
        self.coef_ = np.array([head.line.coef for head in heads])
        self.intercept_ = np.array([head.line.intercept for head in heads])
        self.oof_proba_ = sigmoid(np.column_stack([head.oof for head in heads]))
        self.strengths_ = np.array([head.strength for head in heads])
        return self

    def decision_function(self, X: Any) -> Floats:
        """Calibrated logits. (n, heads)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", reset=False, dtype=np.float64)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def predict_proba(self, X: Any) -> Floats:
        """Probability that each model is good. (n, heads)."""
        return sigmoid(self.decision_function(X))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Whether each model is more likely good than not. (n, heads)."""
        return (self.decision_function(X) >= 0).astype(np.int64)

    def predict_gain(self, X: Any) -> Floats:
        """p(strong good) - p(small good). (n,).

        Raises:
            ValueError: The estimator was not fitted on two columns of labels.
        """
        proba = self.predict_proba(X)
        if proba.shape[1] != 2:
            raise ValueError(f"gain needs 2 heads, strong and small; this estimator has {proba.shape[1]}")
        return np.asarray(proba[:, 0] - proba[:, 1])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        tags.target_tags.two_d_labels = True
        return tags


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))


def _shuffled(n: int, folds: int, seed: int) -> NDArray[np.intp]:
    return np.random.default_rng(seed).permutation(np.arange(n) % max(folds, 2))


def _fit_head(X: Any, good: NDArray[np.bool_], fold: NDArray[np.intp], strengths: Sequence[float]) -> Head:
    if good.all() or not good.any():
        line = _constant(good, X.shape[1])
        return Head(line, line(X), float(min(strengths)))
    oof = np.empty((len(strengths), len(good)))
    for number in np.unique(fold):
        out = fold == number
        for place, line in enumerate(_path(X[~out], good[~out], strengths)):
            oof[place, out] = line(X[out])
    losses = [log_loss(good, sigmoid(logits)) for logits in oof]
    best = int(np.argmin(losses))
    line = _path(X, good, strengths[: best + 1])[-1]
    slope, offset = _platt(oof[best], good)
    calibrated = Line(slope * line.coef, slope * line.intercept + offset)
    return Head(calibrated, slope * oof[best] + offset, float(strengths[best]))


def _path(X: Any, good: NDArray[np.bool_], strengths: Sequence[float]) -> list[Line]:
    """A regression for each strength, each started where the one before ended."""
    if len(good) == 0 or good.all() or not good.any():
        return [_constant(good, X.shape[1])] * len(strengths)
    regression = LogisticRegression(warm_start=True, max_iter=500)
    lines = []
    for strength in strengths:
        regression.set_params(C=strength).fit(X, good)
        lines.append(Line(regression.coef_[0].copy(), float(regression.intercept_[0])))
    return lines


def _constant(good: NDArray[np.bool_], columns: int) -> Line:
    """The head where all labels are alike: their rate, with half a label of each kind added."""
    rate = (good.sum() + 0.5) / (len(good) + 1.0)
    return Line(np.zeros(columns), float(np.log(rate / (1.0 - rate))))


def _platt(logits: Floats, good: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of Platt scaling, with the smoothed targets of Platt (1999), section 2.2.

    A slope below 0 would turn the head's ranking round: it means that nothing was learnt, and becomes 0.
    """
    spread = float(logits.std())
    if spread > 1e-9:
        positive, n = int(good.sum()), len(good)
        target = np.where(good, (positive + 1) / (positive + 2), 1 / (n - positive + 2))
        rows, kinds = np.tile(logits[:, None] / spread, (2, 1)), np.repeat([True, False], n)
        weights = np.concatenate((target, 1 - target))
        regression = LogisticRegression(C=1e3).fit(rows, kinds, sample_weight=weights)
        slope = float(regression.coef_[0, 0]) / spread
        if slope > 0:
            return slope, float(regression.intercept_[0])
    return 0.0, _constant(good, 0).intercept


def log_loss(good: NDArray[np.bool_], p: Floats) -> float:
    """Mean negative log likelihood, in nats."""
    return float(-np.log(np.clip(np.where(good, p, 1.0 - p), 1e-12, 1.0)).mean())
