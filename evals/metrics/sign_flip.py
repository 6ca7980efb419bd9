"""The sign-flip test: did one of two models score higher on the same requests, where scores are graded?

Invariant: under a symmetric difference the p-value is below alpha in at most a share alpha of runs, for
any number of draws, because the observed value counts as one of them. Rows that share a group flip together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evals.metrics.groups import group_sums
from evals.metrics.intervals import Floats

DRAWS = 9999
CHUNK_CELLS = 4_000_000
SLACK = 1e-12


class SignFlip(NamedTuple):
    """The test's outcome.

    Attributes:
        p: Two-sided.
        p_worse: One-sided: of a mean difference at least as low.
    """

    p: float
    p_worse: float


def sign_flip(
    differences: ArrayLike, *, groups: ArrayLike | None = None, draws: int = DRAWS, seed: int = 0
) -> SignFlip:
    """Test whether paired differences have mean 0 (Fisher, 1935, section 21; by Monte Carlo).

    Assumes that, were there no difference, each group's sum is as likely with either sign.

    Args:
        differences: First model minus second, on the same requests.
        groups: The group of each row; None makes each row its own.
        draws: Random flips of all signs.
        seed: Of the generator; the same seed gives the same p-values.
    """
    sums = group_sums(differences, groups)
    sums = sums[np.abs(sums) > SLACK]
    if not sums.size:
        return SignFlip(1.0, 1.0)
    observed = float(sums.sum())
    flipped = _flipped(sums, draws, seed)
    low = int((flipped <= observed + SLACK).sum())
    far = int((np.abs(flipped) >= abs(observed) - SLACK).sum())
    return SignFlip((far + 1) / (draws + 1), (low + 1) / (draws + 1))


def _flipped(sums: Floats, draws: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // sums.size)
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    totals = [(generator.integers(0, 2, size=(size, sums.size)) * 2 - 1) @ sums for size in sizes]
    return np.concatenate(totals).astype(np.float64)
