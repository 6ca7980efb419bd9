"""Is one of two models not worse than the other beyond a margin? Tests of a mean of paired differences.

Invariant: under the hypothesis a p-value is below alpha in at most a share alpha of runs, however few the
pairs and however rarely the two models disagree; no normal approximation decides. A difference is that of one
independent prompt, in [-1, 1].

Where every difference is -1, 0 or 1 (one answer right and the other wrong) the test is exact and
unconditional: pairs are ordered by the score statistic of Tango (1998, Statistics in Medicine 17:891-908),
and the probability of the tail is the largest over the unknown rate of disagreement (Sidik, 2003, Journal of
Statistical Computation and Simulation 73:265-278), looked for within an exact confidence set of that rate
whose own error is added (Berger and Boos, 1994, JASA 89:1012-1016). Graded differences are tested by betting
(Waudby-Smith and Ramdas, 2024, JRSS B 86:1-27), which holds for any independent values in [-1, 1] and asks
for about twice the prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, gammaln, xlog1py, xlogy

from evals.metrics.groups import group_sums
from evals.metrics.intervals import Estimate, Floats, clopper_pearson

GAMMA = 1e-4
GRID = 65
HALVINGS = 12  # ends to a few ten-thousandths
SLACK = 1e-9
MOST_STAKED = 0.75

Counts = NDArray[np.int64]


class Split(NamedTuple):
    """How many of `n` prompts the first model answered better, and how many worse."""

    better: int
    worse: int
    n: int


def by_prompt(first: ArrayLike, second: ArrayLike, prompts: ArrayLike) -> Floats:
    """The mean of first minus second of each prompt; rows that lack either (NaN) are left out."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(a) | np.isnan(b))
    groups = np.asarray(prompts)[both]
    return group_sums((a - b)[both], groups) / group_sums(np.ones(int(both.sum())), groups)


def split_of(differences: Floats) -> Split | None:
    """The split of differences that are all -1, 0 or 1; None where one is not."""
    if not np.isin(differences, (-1.0, 0.0, 1.0)).all():
        return None
    return Split(int((differences > 0).sum()), int((differences < 0).sum()), differences.size)


def p_not_worse(differences: Floats, margin: float) -> float:
    """P-value of the hypothesis that the mean is at most -margin: a small one shows that it is not worse."""
    split = split_of(differences)
    return _betting_p(differences, -margin) if split is None else _exact_p(split, margin)


def p_worse(differences: Floats, margin: float) -> float:
    """P-value of the hypothesis that the mean is at least -margin: a small one shows that it is worse."""
    split = split_of(differences)
    if split is None:
        return _betting_p(-differences, margin)
    return _exact_p(Split(split.worse, split.better, split.n), -margin)


def mean_with_bounds(differences: Floats, alpha: float) -> Estimate:
    """The mean, and the ends at which the two tests have p = alpha: each end alone holds with 1 - alpha."""
    if not differences.size:
        return Estimate(math.nan, -1.0, 1.0, 0)
    mean = float(differences.mean())
    low = -_root(lambda margin: p_not_worse(differences, margin), alpha, -mean, 1.0)
    high = _root(lambda margin: p_not_worse(-differences, margin), alpha, mean, 1.0)
    return Estimate(mean, low, high, differences.size)


def prompts_needed(margin: float, alpha: float) -> int:
    """Fewest prompts that can show that a model is not worse if the two never disagree."""
    return math.ceil(math.log(alpha) / math.log1p(-margin))


def smallest_loss_seen(n: int, margin: float, alpha: float, power: float = 0.8) -> float | None:
    """The smallest loss that `p_worse` <= alpha finds with probability `power` among n prompts.

    Exact where the model is never better; each prompt on which it is better hides a loss. None where even a
    loss of every prompt would not be found.
    """
    low, high = -1, n
    if not n or p_worse(-np.ones(n), margin) > alpha:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        found = _exact_p(Split(middle, 0, n), -margin) <= alpha
        low, high = (low, middle) if found else (middle, high)
    return float(betaincinv(high, n - high + 1, power))


def _exact_p(split: Split, margin: float) -> float:
    """P-value of P(worse) - P(better) >= margin, the largest over the rate of disagreement.

    At a given rate the tail grows with the share of better, so the largest share that the hypothesis allows
    at that rate is looked at: for rates below -margin that is all of them.
    """
    better, worse, n = split
    if not n:
        return 1.0
    within = clopper_pearson(better + worse, n, 1 - GAMMA)
    low = max(within.low, margin)  # they differ at least as often as one is worse more often
    if low > within.high:
        return GAMMA
    rates = low + (within.high - low) * np.linspace(0.0, 1.0, GRID) ** 2
    most = min(n, math.ceil(n * within.high + 7 * math.sqrt(n * within.high) + 12))
    disagreeing = np.arange(most + 1)
    observed = _score(np.array([better]), np.array([better + worse]), n, margin)[0]
    fewest = _fewest_better(observed, disagreeing, n, margin)
    fewest[better + worse] = min(fewest[better + worse], better)
    return min(1.0, float(_tail(rates, fewest, disagreeing, n, margin).max()) + GAMMA)


def _score(better: Counts, disagreeing: Counts, n: int, margin: float) -> Floats:
    """Tango's statistic: large where the first model looks less bad than the margin."""
    worse = disagreeing - better
    middle = better * (1 - margin) + worse * (1 + margin) - 2 * n * margin
    rate = (middle + np.sqrt(np.maximum(middle**2 + 8 * n * better * margin * (1 - margin), 0.0))) / (4 * n)
    variance = n * np.maximum(2 * rate + margin * (1 - margin), 0.0)
    far = better - worse + n * margin
    safe = np.sqrt(np.where(variance > SLACK, variance, 1.0))
    return np.where(variance > SLACK, far / safe, np.sign(far) * np.where(np.abs(far) > SLACK, np.inf, 0.0))


def _fewest_better(observed: float, disagreeing: Counts, n: int, margin: float) -> Counts:
    """For each number that disagree, the fewest better that score as high; one more if none do."""
    low, high = np.full(disagreeing.size, -1), disagreeing + 1
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, disagreeing)
        reached = _score(middle, disagreeing, n, margin) >= observed - SLACK
        wide = high - low > 1
        high = np.where(wide & reached, middle, high)
        low = np.where(wide & ~reached, middle, low)
    return high


def _tail(rates: Floats, fewest: Counts, m: Counts, n: int, margin: float) -> Floats:
    """Probability of a score as high at each rate of disagreement: how many disagree, and who wins those."""
    ways = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    disagree = np.clip(rates, 0.0, 1.0)[:, None]
    share = np.clip((1 - margin / np.maximum(disagree, SLACK)) / 2, 0.0, 1.0)
    chance = np.exp(ways + xlogy(m, disagree) + xlog1py(n - m, -disagree))
    below = np.where(fewest > 0, bdtr(np.maximum(fewest - 1, 0), m, share), 0.0)
    left_out = np.maximum(0.0, 1 - chance.sum(axis=1))
    tail = (chance * np.where(fewest > m, 0.0, 1 - below)).sum(axis=1)
    return np.asarray(tail + left_out, dtype=np.float64)


def _betting_p(values: Floats, mean: float) -> float:
    """P-value of a true mean of at most `mean`: one over the most that betting against it ever won."""
    if mean <= -1:
        return 0.0 if mean < -1 else 1.0
    most = MOST_STAKED / (1 + mean)
    wealth = best = 0.0
    total, squares = 0.0, 0.25
    for seen, value in enumerate(values - mean):
        drift = total / (seen + 1)
        stake = min(max(drift / (squares / (seen + 1) + drift**2), 0.0), most)
        wealth += math.log1p(stake * value)
        best = max(best, wealth)
        total, squares = total + value, squares + (value - drift) ** 2
    return math.exp(-best)


def _root(p: Callable[[float], float], alpha: float, low: float, high: float) -> float:
    """The margin at which a falling p-value reaches alpha."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if p(middle) <= alpha else (middle, high)
    return high
