"""Which of today's clusters is which of yesterday's: the one that shares most of its prompts.

Invariant: an id is given once and never again; each of today's clusters has at most one of yesterday's, and
the pairing with the largest sum of overlaps is taken (the Hungarian method). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Labels = NDArray[np.intp]
MIN_OVERLAP = 0.4
SAME_TERMS = 0.25


def match(today: Labels, yesterday: Labels, clusters: int, before: int) -> list[int | None]:
    """For each of today's clusters, the index of yesterday's that it continues, or None for a new one.

    Args:
        today: Each prompt's cluster by today's clustering, 0 to clusters-1, or -1.
        yesterday: The same prompts' clusters by yesterday's model, 0 to before-1, or -1.
        clusters: How many there are today.
        before: How many there were yesterday.
    """
    overlap = jaccard(today, yesterday, clusters, before)
    rows, columns = linear_sum_assignment(-overlap)
    found: list[int | None] = [None] * clusters
    for row, column in zip(rows, columns, strict=True):
        if overlap[row, column] >= MIN_OVERLAP:
            found[row] = int(column)
    return found


def jaccard(today: Labels, yesterday: Labels, clusters: int, before: int) -> NDArray[np.float64]:
    """Prompts in both, as a share of the prompts in either, as (clusters, before)."""
    both = np.zeros((clusters, before))
    in_both = (today >= 0) & (yesterday >= 0)
    np.add.at(both, (today[in_both], yesterday[in_both]), 1.0)
    sizes = np.bincount(today[today >= 0], minlength=clusters)
    sizes_before = np.bincount(yesterday[yesterday >= 0], minlength=before)
    either = sizes[:, None] + sizes_before[None, :] - both
    shares: NDArray[np.float64] = both / np.maximum(either, 1.0)
    return shares


def terms_changed(today: Sequence[str], yesterday: Sequence[str]) -> bool:
    """Whether a slice's words are so different from yesterday's that its name would mislead."""
    new, old = set(today), set(yesterday)
    return len(new & old) < SAME_TERMS * len(new | old)
