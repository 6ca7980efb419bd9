"""The baselines that a router must beat, as scores: higher means strong first.

Each sees what a router may see (prompts, slices, and the outcomes of the fit part) and nothing of the
outcomes of the rows that it scores. Always-strong and always-small are the two ends of every curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from evals.metrics.intervals import DRAWS, Estimate, Floats, percentile_interval, resampled_weights

NEIGHBOURS = 25


def random_scores(n: int) -> Floats:
    """One score for all: ties are sent in random order, whose expectation is the straight line."""
    return np.zeros(n)


def prompt_length_scores(texts: Sequence[str]) -> Floats:
    """Characters of the prompt: long ones go to strong first."""
    return np.array([len(text) for text in texts], dtype=float)


def knn_scores(
    fit_texts: Sequence[str], fit_gains: ArrayLike, texts: Sequence[str], *, neighbours: int = NEIGHBOURS
) -> Floats:
    """Mean gain of the nearest prompts of the fit part, by cosine of TF-IDF over words and word pairs.

    Args:
        fit_texts: Prompts of the fit part.
        fit_gains: Their outcomes, strong good − small good.
        texts: Prompts to score.
        neighbours: How many to ask.
    """
    gains = np.asarray(fit_gains, dtype=float)
    if not len(fit_texts):
        return random_scores(len(texts))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]")
    known = words.fit_transform(fit_texts)
    search = NearestNeighbors(n_neighbors=min(neighbours, len(fit_texts)), metric="cosine").fit(known)
    nearest = search.kneighbors(words.transform(texts), return_distance=False)
    return np.asarray(gains[nearest].mean(axis=1))


def slice_mean_scores(fit_slices: Sequence[str], fit_gains: ArrayLike, slices: Sequence[str]) -> Floats:
    """Mean gain of the slice in the fit part; the mean of all for a slice that is new."""
    gains = np.asarray(fit_gains, dtype=float)
    names = np.asarray(fit_slices, dtype=object)
    overall = float(gains.mean()) if gains.size else 0.0
    means = {name: float(gains[names == name].mean()) for name in set(fit_slices)}
    return np.array([means.get(name, overall) for name in slices])


def shuffled_quality(
    coverage: float,
    strong_good: ArrayLike,
    small_good: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Cost-matched shuffle: expected quality if small answered as many requests, chosen at random.

    Coverage stays that of the policy, so the calls cost as much and only the choosing is taken away.
    """
    strong, small = np.asarray(strong_good, dtype=float), np.asarray(small_good, dtype=float)
    expected = coverage * small + (1 - coverage) * strong
    values = [
        weights @ expected / weights.sum(axis=1)
        for weights in resampled_weights(expected.size, groups=groups, draws=draws, seed=seed)
    ]
    low, high = percentile_interval(np.concatenate(values), confidence)
    return Estimate(float(expected.mean()), low, high, expected.size)
