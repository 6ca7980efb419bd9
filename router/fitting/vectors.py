"""From features to the matrix that the heads are fitted on.

Invariant: `RouterModel.score` does to one prompt exactly what `PromptVectors.transform` does to many.
No label is seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from router.features import BUCKETS, STRUCTURE, Features

Floats = NDArray[np.float64]
CLIP = 3.0


class PromptVectors(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """TF-IDF of the hashed n-grams, scaled to length 1, beside the standardised structure.

    Args:
        min_prompts: A bucket counts if at least so many prompts of the fit have it.
        max_buckets: Keep only so many buckets, the most frequent: what bounds an artifact's size.
        structure_scale: Standard deviation of a structure feature beside a text vector of length 1.

    Attributes:
        buckets_: Buckets kept, ascending. (k,)
        idf_: Their weights. (k,)
        centre_: Mean of the structure features. (s,)
        scale_: Their standard deviation, divided by `structure_scale`. (s,)
        clip_: Bound on a scaled structure feature.
    """

    def __init__(
        self, *, min_prompts: int = 2, max_buckets: int = 24_000, structure_scale: float = 0.1
    ) -> None:
        self.min_prompts = min_prompts
        self.max_buckets = max_buckets
        self.structure_scale = structure_scale

    def fit(self, features: Sequence[Features], y: Any = None) -> PromptVectors:
        """Learn the buckets' weights and the scale of the structure."""
        prompts = np.bincount(_joined(features), minlength=BUCKETS)
        order = np.argsort(-prompts, kind="stable")[: self.max_buckets]
        self.buckets_ = np.sort(order[prompts[order] >= self.min_prompts])
        self.idf_ = np.log((1 + len(features)) / (1 + prompts[self.buckets_])) + 1.0
        structure = np.array([f.structure for f in features])
        self.centre_ = structure.mean(axis=0)
        deviation = structure.std(axis=0)
        # A feature that never varied says nothing of a prompt in which it does: leave it almost at 0.
        self.scale_ = np.where(deviation > 1e-9, deviation, 1e6) / self.structure_scale
        self.clip_ = CLIP * self.structure_scale
        return self

    def transform(self, features: Sequence[Features]) -> sparse.csr_matrix:
        """One row a prompt: the text columns, then the structure columns."""
        check_is_fitted(self)
        structure = (np.array([f.structure for f in features]) - self.centre_) / self.scale_
        clipped = np.clip(structure, -self.clip_, self.clip_)
        return sparse.hstack([self._text(features), sparse.csr_matrix(clipped)], format="csr")

    @property
    def columns(self) -> int:
        """Number of columns of the matrix."""
        return len(self.buckets_) + len(STRUCTURE)

    def _text(self, features: Sequence[Features]) -> sparse.csr_matrix:
        ends = np.cumsum([0] + [len(f.buckets) for f in features])
        counts = np.concatenate([f.weights for f in features])
        every = sparse.csr_matrix((counts, _joined(features), ends), shape=(len(features), BUCKETS))
        text = every[:, self.buckets_] @ sparse.diags(self.idf_)
        norms = np.sqrt(np.asarray(text.multiply(text).sum(axis=1)).ravel())
        return sparse.diags(1.0 / np.where(norms > 0, norms, 1.0)) @ text


def _joined(features: Sequence[Features]) -> NDArray[np.int64]:
    return np.concatenate([f.buckets for f in features]).astype(np.int64)
