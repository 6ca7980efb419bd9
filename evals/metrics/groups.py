"""Sums over groups of rows: the independent parts of what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evals.metrics.intervals import Floats


def group_sums(values: ArrayLike, groups: ArrayLike | None) -> Floats:
    """The sum of each group of rows, in no particular order; None makes each row its own group."""
    rows = np.asarray(values, dtype=np.float64)
    if groups is None or not rows.size:
        return rows
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(member, weights=rows).astype(np.float64)
