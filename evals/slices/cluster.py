"""How many kinds of query there are, and which prompt is of which: k-means, the number by the silhouette.

The number of clusters is the smallest whose mean silhouette (Rousseeuw, 1987) comes within a share of
`TOLERANCE` of the best one's, among those tried; where none parts the prompts better than
`MIN_SILHOUETTE` there is one. After a first night, yesterday's clusters are the start, and they stay
unless a clustering from nothing is better by `HYSTERESIS`: a cluster is added only if all are told apart
better with it.

Invariant: the result depends on the places, on yesterday's clusters and on the seed, not on threads. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evals.slices.space import Floats, unit

Labels = NDArray[np.intp]

SIZES = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 27, 30, 35, 40)
MAX_CLUSTERS = SIZES[-1]
MIN_CLUSTERED = 20
TOLERANCE = 0.04
MIN_SILHOUETTE = 0.2
HYSTERESIS = 0.1
ADDS_UNKNOWN, ADDS_SPLIT = 0.003, 0.02
STARTS = 4
PROMPTS_EACH = 25  # on average at least: fewer could never be judged
SCORED = 2_000
MIN_SIZE, MIN_SIZE_SHARE = 5, 0.005


@dataclass(frozen=True)
class Clustering:
    """A parting of prompts.

    Attributes:
        labels: The cluster of each prompt, 0 to k-1. (n,)
        centres: One unit vector a cluster. (k, d)
        silhouette: Mean silhouette of a sample; 0 for one cluster.
    """

    labels: Labels
    centres: Floats
    silhouette: float

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return len(self.centres)


def cluster(directions: Floats, *, seed: int, before: Labels | None = None) -> Clustering:
    """Part prompts into kinds.

    Args:
        directions: Unit vectors. (n, d)
        seed: Of the starts and of the sample that is scored.
        before: Yesterday's cluster of each prompt, -1 for none; None on the first night.
    """
    if len(directions) < MIN_CLUSTERED and (before is None or before.max(initial=-1) < 0):
        return _one(directions)
    with threadpool_limits(limits=1):
        scored = _sample(len(directions), seed)
        fresh = _fresh(directions, scored, seed)
        warm = None if before is None else _warm(directions, scored, before, fresh)
    if warm is None or fresh.silhouette > warm.silhouette + HYSTERESIS:
        return fresh
    return warm


def _one(directions: Floats) -> Clustering:
    labels = np.zeros(len(directions), dtype=np.intp)
    return Clustering(labels, _means(directions, labels, 1), 0.0)


def _fresh(directions: Floats, scored: Labels, seed: int) -> Clustering:
    """The best clustering from nothing."""
    most = min(
        len(directions) // PROMPTS_EACH, math.isqrt(len(directions)), len(np.unique(directions, axis=0))
    )
    tried = [_lloyd(directions, scored, k, seed) for k in SIZES if k <= most]
    best = max((c.silhouette for c in tried), default=0.0)
    if best < MIN_SILHOUETTE:
        return _one(directions)
    return next(c for c in tried if c.silhouette >= (1 - TOLERANCE) * best)


def _warm(directions: Floats, scored: Labels, before: Labels, fresh: Clustering) -> Clustering | None:
    """Yesterday's clusters moved to today's prompts, with those of a fresh start that improve on them."""
    known = [i for i in range(before.max(initial=-1) + 1) if (before == i).sum() >= _least(before)]
    if not known:
        return None
    relabelled = np.full(len(before), -1, dtype=np.intp)
    for new, old in enumerate(known):
        relabelled[before == old] = new
    means = _means(directions, relabelled, len(known))
    best, centres = _lloyd(directions, scored, means), means
    for extra, gain in _candidates(fresh, relabelled):
        if best.clusters >= MAX_CLUSTERS:
            break
        wider = np.vstack(
            [centres, fresh.centres[extra]]
        )  # a start in which the new pulls no known centre away
        tried = _lloyd(directions, scored, wider)
        if tried.silhouette > best.silhouette + gain:
            best, centres = tried, wider
    return best


def _candidates(fresh: Clustering, before: Labels) -> list[tuple[int, float]]:
    """Fresh clusters that could be new kinds, the least known first, with the gain each must bring.

    One that yesterday's clusters mostly did not know is easily let in, one that splits what they knew hardly.
    """
    unknown = [float((before[fresh.labels == i] < 0).mean()) for i in range(fresh.clusters)]
    order = np.argsort([-share for share in unknown], kind="stable")
    return [(int(i), ADDS_UNKNOWN if unknown[i] > 0.5 else ADDS_SPLIT) for i in order]


def _least(labels: Labels) -> int:
    return max(MIN_SIZE, math.ceil(MIN_SIZE_SHARE * len(labels)))


def _lloyd(directions: Floats, scored: Labels, start: int | Floats, seed: int = 0) -> Clustering:
    """k-means from random starts, or from given centres; clusters too small are given up."""
    if isinstance(start, int):
        means = KMeans(start, n_init=STARTS, random_state=seed).fit(directions)
    else:
        means = KMeans(len(start), init=start, n_init=1).fit(directions)
    labels = np.asarray(means.labels_, dtype=np.intp)
    sizes = np.bincount(labels, minlength=len(means.cluster_centers_))
    kept = np.flatnonzero(sizes >= min(_least(labels), sizes.max()))
    centres = unit(np.asarray(means.cluster_centers_[kept], dtype=np.float64))
    labels = np.asarray((directions @ centres.T).argmax(axis=1), dtype=np.intp)
    return Clustering(labels, centres, _silhouette(directions[scored], labels[scored]))


def _silhouette(directions: Floats, labels: Labels) -> float:
    if not 1 < len(np.unique(labels)) < len(labels):
        return 0.0
    return float(silhouette_score(directions, labels))


def _sample(n: int, seed: int) -> Labels:
    chosen = np.random.default_rng(seed).permutation(n)[:SCORED]
    return np.sort(chosen).astype(np.intp)


def _means(directions: Floats, labels: Labels, count: int) -> Floats:
    return unit(np.array([directions[labels == i].sum(axis=0) for i in range(count)]))
