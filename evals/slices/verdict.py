"""May a slice step down? The verdict on one kind of query, from pairs of labelled answers.

A regret is a prompt on which strong is right and small is wrong. *Yes*: the exact (Clopper-Pearson) upper
bound of P(regret) is at most epsilon. *No*: the exact lower bound is above it. Each at confidence 1 -
delta/m for m slices looked at (Bonferroni: so that a slice's verdict depends on its own labels alone,
which Holm's would not, and the probability that any of the m verdicts says yes wrongly is at most delta,
whatever the slices share).

Invariant: a prompt counts once, however often it was asked; it is a regret for the upper bound if any of
its pairs is one, and for the lower bound only if all are. Assumes that the labelled prompts are a fair
draw from the slice's. Pure: it knows nothing of how slices are made.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from evals.metrics.intervals import clopper_pearson
from router.fitting.bound import prompts_needed

GOOD_FROM = 0.5  # a graded or probable label counts as good from here on
MOST = 100_000  # labelled prompts; to ask for more is no answer
SEARCHED = (64, 1024, 8_192, 65_536, MOST)  # further regrets tried, in growing steps


class May(enum.StrEnum):
    """May the slice step down?"""

    YES = "yes"
    NO = "no"
    NEED = "need"
    NO_UNLESS = "no_unless"


@dataclass(frozen=True, slots=True)
class Regrets:
    """Regrets among the labelled prompts of a slice.

    Attributes:
        prompts: Distinct labelled prompts.
        some: Those with a regret in any of their pairs.
        always: Those with a regret in every pair.
        by_request: Share of the pairs that are regrets; 0 without pairs.
    """

    prompts: int
    some: int
    always: int
    by_request: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the labels say.

    Attributes:
        may: The verdict.
        more: Distinct prompts yet to be labelled until it is yes if the observed rate holds; None where
            no number would do, or none below a hundred thousand.
        at_best: The same if none of them is a regret; None where it is yes or no already.
        low: Exact lower bound of P(regret) at `level`.
        high: Exact upper bound of P(regret) at `level`.
        level: Confidence of each bound alone.
        why: In words.
    """

    may: May
    more: int | None
    at_best: int | None
    low: float
    high: float
    level: float
    why: str


def count_regrets(strong: ArrayLike, small: ArrayLike, prompts: ArrayLike) -> Regrets:
    """Count the regrets of pairs.

    Args:
        strong: How good strong's answer is, in [0, 1]. (n,)
        small: How good small's answer is. (n,)
        prompts: Which prompt each pair answers. (n,)
    """
    regret = (np.asarray(strong, float) >= GOOD_FROM) & (np.asarray(small, float) < GOOD_FROM)
    if not regret.size:
        return Regrets(0, 0, 0, 0.0)
    groups = pd.Series(regret).groupby(np.asarray(prompts))
    some, always = groups.any(), groups.all()
    return Regrets(len(some), int(some.sum()), int(always.sum()), float(regret.mean()))


def judge_slice(regrets: Regrets, *, epsilon: float, delta: float, slices: int) -> Verdict:
    """The verdict on one of several slices.

    Args:
        regrets: Of the slice.
        epsilon: Allowed probability of a regret, in (0, 1).
        delta: Allowed probability that any slice's yes is wrong, and as much for any no, in (0, 1).
        slices: How many slices are looked at, at least 1.
    """
    if not 0 < epsilon < 1 or not 0 < delta < 1 or slices < 1:
        raise ValueError(f"no verdict at epsilon={epsilon!r}, delta={delta!r} for {slices!r} slices")
    level = delta / slices
    may = _may(regrets, epsilon, level)
    low = clopper_pearson(regrets.always, regrets.prompts, 1 - 2 * level).low
    high = clopper_pearson(regrets.some, regrets.prompts, 1 - 2 * level).high
    more = _more(regrets, epsilon, level) if may is May.NEED else None
    at_best = _at_best(regrets, epsilon, level) if may in (May.NEED, May.NO_UNLESS) else None
    why = _why(may, regrets, epsilon, 1 - level, (low, high), more)
    return Verdict(may, more, at_best, low, high, 1 - level, why)


def labels_needed(regrets: int, prompts: int, epsilon: float, level: float) -> int | None:
    """Fewest labelled prompts in all that would support epsilon if the observed rate of regrets holds.

    Searched exactly: the smallest N for which N prompts with ceil(rate x N) regrets have an upper bound at
    confidence 1 - level of at most epsilon. None where the rate is epsilon or more, or N above `MOST`.
    """
    if regrets == 0:
        return prompts_needed(epsilon, level)
    if regrets >= epsilon * prompts:
        return None
    for start, end in pairwise((regrets, *(regrets + step for step in SEARCHED))):
        counts = np.arange(start, end)
        sizes = counts * prompts // regrets  # the most prompts with so many at this rate
        enough = np.flatnonzero((sizes <= MOST) & (_at_most(counts, sizes, epsilon) <= level))
        if len(enough):
            return _fewest(int(counts[enough[0]]), int(sizes[enough[0]]), epsilon, level)
        if sizes[-1] > MOST:
            return None
    return None


def _at_most(events: ArrayLike, n: ArrayLike, p: float) -> NDArray[np.float64]:
    """P(at most so many events of n) at probability p: the binomial distribution, by the incomplete beta."""
    few, most = np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.where(few >= most, 1.0, betainc(np.maximum(most - few, 1e-9), few + 1, 1 - p))


def _fewest(regrets: int, enough: int, epsilon: float, level: float) -> int:
    """Fewest prompts, `enough` at most, that support epsilon with so many regrets."""
    low, high = regrets, enough
    while high - low > 1:
        middle = (low + high) // 2
        if _at_most(regrets, middle, epsilon) <= level:
            high = middle
        else:
            low = middle
    return high


def _may(regrets: Regrets, epsilon: float, level: float) -> May:
    n = regrets.prompts
    if regrets.always and 1 - _at_most(regrets.always - 1, n, epsilon) <= level:
        return May.NO
    if regrets.by_request > epsilon or (n and regrets.some >= epsilon * n):
        return May.NO_UNLESS
    return May.YES if n and _at_most(regrets.some, n, epsilon) <= level else May.NEED


def _more(regrets: Regrets, epsilon: float, level: float) -> int | None:
    wanted = labels_needed(regrets.some, regrets.prompts, epsilon, level)
    return None if wanted is None else max(1, wanted - regrets.prompts)


def _at_best(regrets: Regrets, epsilon: float, level: float) -> int | None:
    """How many more prompts without any regret would do."""
    enough = max(regrets.prompts, prompts_needed(epsilon, level))
    while _at_most(regrets.some, enough, epsilon) > level:
        enough *= 2
    return max(1, _fewest(regrets.some, enough, epsilon, level) - regrets.prompts)


def _why(
    may: May,
    regrets: Regrets,
    epsilon: float,
    level: float,
    ends: tuple[float, float],
    more: int | None,
) -> str:
    seen = f"{regrets.some:,} of {regrets.prompts:,} prompts regretted"
    sure = f"with {100 * level:.4g}% confidence"
    if may is May.YES:
        return f"{seen}: at most {ends[1]:.2%} {sure}"
    if may is May.NO:
        return f"{regrets.always:,} of {regrets.prompts:,} prompts regretted: at least {ends[0]:.2%} {sure}"
    if may is May.NEED:
        amount = "more than a hundred thousand" if more is None else f"at least {more:,}"
        return f"{seen}; {amount} more labelled prompts are needed if that rate holds"
    if regrets.some < epsilon * regrets.prompts:
        return f"{seen}, but {regrets.by_request:.1%} of requests: a few that are asked often"
    return f"{seen}, {epsilon:.2%} is allowed: only a lower rate among further labels would do"
