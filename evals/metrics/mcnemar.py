"""McNemar's exact test: did one of two models do better on the same requests?

Invariant: the p-value is exact (binomial, no continuity correction), so under no difference it is below
alpha in at most a share alpha of runs, however few the pairs. Rows that share a group are one trial.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from evals.metrics.groups import group_sums


class McNemar(NamedTuple):
    """The test's outcome.

    Attributes:
        better: Groups in which the first model did better.
        worse: Groups in which it did worse.
        p: Two-sided: of a split at least as uneven as this one where both are as good.
        p_worse: One-sided: of at least as many worse where the first is as good.
    """

    better: int
    worse: int
    p: float
    p_worse: float


def mcnemar(a: ArrayLike, b: ArrayLike, *, groups: ArrayLike | None = None) -> McNemar:
    """Test outcomes of two models on the same requests (McNemar, 1947; the exact form).

    Only discordant pairs count: under no difference each falls either way with probability 1/2. A group
    of several rows counts once, for the side on which most of its rows fall, and not where it is even;
    so the test stays exact whatever the dependence within a group.

    Args:
        a: Outcomes of the first model, 0 or 1.
        b: Outcomes of the second model on the same requests.
        groups: The group of each row; None makes each row its own.
    """
    differences = group_sums(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), groups)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return McNemar(better, worse, sign_test(better, worse), _tail(better, better + worse))


def sign_test(better: int, worse: int) -> float:
    """Two-sided exact p-value of a split of trials that fall either way with probability 1/2."""
    return min(1.0, 2 * _tail(min(better, worse), better + worse))


def _tail(k: int, n: int) -> float:
    """Probability of at most k heads of n."""
    return float(bdtr(k, n, 0.5)) if n else 1.0
