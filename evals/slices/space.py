"""The space in which prompts are compared: TF-IDF of hashed word 1-2-grams, reduced by a truncated SVD.

Invariant: a space holds no word of any prompt, only hash buckets with their weights, and its numbers are
rounded as they are kept; so a prompt lies in the same place whether the space was just fitted or read back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from router.features import BUCKETS, Features

Floats = NDArray[np.float64]
Halves = NDArray[np.float16]

DIMENSIONS = 20
MIN_SHARE = 0.005  # a bucket counts if so many of the prompts have it: rarer ones are values, not templates
MIN_PROMPTS = 2
EVERYWHERE, EVERYWHERE_WEIGHT = 0.95, 0.1  # what so many prompts have, as a system prompt, tells little
MAX_BUCKETS = 4096


class Places(NamedTuple):
    """Where prompts lie.

    Attributes:
        directions: Unit vectors, or 0 for a prompt of which the space knows nothing. (n, d)
        strengths: Share of each prompt's TF-IDF length that its direction explains, in [0, 1]. (n,)
    """

    directions: Floats
    strengths: Floats


@dataclass(frozen=True)
class Space:
    """A fitted space.

    Attributes:
        buckets: Hash buckets that count, ascending. (k,)
        idf: Their weights. (k,)
        rare_idf: The weight of all other buckets, which only tell that a prompt is unlike those known.
        axes: The reduction. (k, d)
    """

    buckets: NDArray[np.uint16]
    idf: Halves
    rare_idf: float
    axes: Halves

    def place(self, features: Sequence[Features]) -> Places:
        """Where prompts lie."""
        counts = _counts(features)
        known, whole = _weighted(counts, self.buckets, self.idf, self.rare_idf)
        reduced = np.asarray(known @ self.axes.astype(np.float64))
        lengths = np.linalg.norm(reduced, axis=1)
        shares = np.minimum(lengths / np.where(whole > 0, whole, 1.0), 1.0)
        return Places(unit(reduced), shares)


def fit_space(features: Sequence[Features], *, seed: int) -> Space:
    """Fit a space to prompts; where they share nothing it has no bucket, and every prompt lies at 0."""
    counts, n = _counts(features), len(features)
    frequency = np.bincount(counts.indices, minlength=BUCKETS)
    least = max(MIN_PROMPTS, math.ceil(MIN_SHARE * n))
    order = np.argsort(-frequency, kind="stable")[:MAX_BUCKETS]
    buckets = np.sort(order[frequency[order] >= least])
    shared = frequency[buckets]
    weight = np.where(shared < EVERYWHERE * n, np.log((1 + n) / (1 + shared)) + 1.0, EVERYWHERE_WEIGHT)
    idf = weight.astype(np.float16)
    rare_idf = round(math.log((1 + n) / 2) + 1.0, 3)
    known, _ = _weighted(counts, buckets, idf, rare_idf)
    return Space(buckets.astype(np.uint16), idf, rare_idf, _axes(known, seed))


def unit(rows: Floats) -> Floats:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return scaled


def _counts(features: Sequence[Features]) -> sparse.csr_matrix:
    ends = np.cumsum([0] + [len(f.buckets) for f in features])
    buckets = np.concatenate([np.empty(0, np.int64), *(f.buckets for f in features)])
    weights = np.concatenate([np.empty(0), *(f.weights for f in features)])
    return sparse.csr_matrix((weights, buckets, ends), shape=(len(features), BUCKETS))


def _weighted(
    counts: sparse.csr_matrix, buckets: NDArray[np.integer], idf: Halves, rare_idf: float
) -> tuple[sparse.csr_matrix, Floats]:
    """The known columns as TF-IDF with rows of length 1, and each row's whole length in their units."""
    every = np.full(BUCKETS, rare_idf)
    every[buckets] = idf
    tfidf = counts @ sparse.diags(every)
    whole = np.sqrt(np.asarray(tfidf.multiply(tfidf).sum(axis=1)).ravel())
    known = tfidf[:, buckets]
    lengths = np.sqrt(np.asarray(known.multiply(known).sum(axis=1)).ravel())
    scale = np.where(lengths > 0, lengths, 1.0)
    return sparse.diags(1.0 / scale) @ known, whole / scale


def _axes(known: sparse.csr_matrix, seed: int) -> Halves:
    rank = min(DIMENSIONS, *(size - 1 for size in known.shape))
    if rank < 1:
        return np.ones((known.shape[1], 1), dtype=np.float16)
    with np.errstate(divide="ignore", invalid="ignore"):  # it divides by the variance, 0 where all are alike
        svd = TruncatedSVD(rank, random_state=seed).fit(known)
    return np.asarray(svd.components_.T, dtype=np.float16)
