"""What routing would save a month, from pairs that both models answered. Pure.

With a score for each pair that had no part in making it, small takes the prompts of the least gain, as many
as keep the observed share of regrets within the bound; each resample of prompts chooses anew, so the interval
holds for the choice too. The choice is the best on the very pairs that it is judged by, which errs a little
to the good side. Without scores, an oracle gives small every prompt on which it was as good and cheaper; no
router does better, so that is a bound from above. What judges, labels and trainings cost is not in it.

Invariant: pairs of one prompt are resampled together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from evals.metrics.intervals import Estimate, Floats, percentile_interval, resampled_weights
from evals.report.savings import MIN_PAIRS
from evals.report.tree import Money
from evals.summary.documents import Measured, Saving
from router.fitting.two_head import GOOD

ROUTER = "a router fitted and scored by folds on {n:,} pairs, at the bound"
ORACLE = "an oracle on {n:,} pairs, which knows when small is as good: no router does better"


class Terms(NamedTuple):
    """What a saving depends on beside the pairs.

    Attributes:
        bound: Largest allowed share of regrets.
        exploration: Share of requests that strong answers while small is asked in its shadow.
        requests_a_month: That a router would decide on.
        rent_a_month: Of the small model's hardware, in micro-dollars.
    """

    bound: float
    exploration: float
    requests_a_month: int
    rent_a_month: int
    confidence: float


class _Ranked(NamedTuple):
    """Pairs in the order in which small takes them, if at all; `last` marks the ends of ties."""

    regret: Floats
    taken: Floats
    saved: Floats
    small_cost: Floats
    last: Floats
    groups: np.ndarray[tuple[int], np.dtype[np.str_]]


def saving(pairs: pd.DataFrame, gains: Floats | None, terms: Terms) -> Saving | None:
    """The saving a month; None where fewer than `MIN_PAIRS` pairs have known costs.

    Args:
        pairs: Labelled pairs, a random draw of the traffic; see `Outcomes.drawn_pairs`.
        gains: Of each pair, by a router that was not fitted on it; None lets the oracle choose.
        terms: What else it depends on.
    """
    priced = pairs[["strong_cost_usd_micros", "small_cost_usd_micros"]].notna().all(axis=1).to_numpy()
    if priced.sum() < MIN_PAIRS:
        return None
    rows = _ranked(pairs[priced], None if gains is None else gains[priced])
    bound = 1.0 if gains is None else terms.bound
    n = int(priced.sum())
    value = _outcome(rows, np.ones((1, n)), bound, terms)
    draws = np.concatenate(
        [_outcome(rows, weights, bound, terms) for weights in resampled_weights(n, groups=rows.groups)]
    )
    money, share = (
        Estimate(float(value[0, k]), *percentile_interval(draws[:, k], terms.confidence), n) for k in (0, 1)
    )
    return Saving(
        usd_micros=Money(round(money.value), round(money.low), round(money.high), n),
        coverage=Measured.of(share),
        at_most=gains is None,
        method=(ORACLE if gains is None else ROUTER).format(n=n),
    )


def _ranked(pairs: pd.DataFrame, gains: Floats | None) -> _Ranked:
    strong, small, strong_cost, small_cost = (
        pairs[name].to_numpy(dtype=np.float64)
        for name in ("strong_good", "small_good", "strong_cost_usd_micros", "small_cost_usd_micros")
    )
    saved, regret = strong_cost - small_cost, (strong >= GOOD) & (small < GOOD)
    taken = np.ones(len(pairs)) if gains is not None else ((small >= strong) & (saved > 0)).astype(float)
    gains = np.zeros(len(pairs)) if gains is None else gains
    order = np.argsort(gains, kind="stable")
    last = np.append(np.diff(gains[order]) > 0, True)
    return _Ranked(
        (regret * taken)[order],
        taken[order],
        (saved * taken)[order],
        small_cost[order],
        last.astype(float),
        pairs["prompt_hash"].to_numpy(dtype=str)[order],
    )


def _outcome(rows: _Ranked, weights: Floats, bound: float, terms: Terms) -> Floats:
    """Saving a month and coverage, for each row of weights; of shape (draws, 2)."""
    total = weights.sum(axis=1)
    regrets = np.cumsum(weights * rows.regret, axis=1)
    allowed = (regrets <= bound * total[:, None] + 1e-9) & (rows.last > 0)
    # The last allowed end of a tie, counted from the far side; -1 where none is.
    place = np.where(allowed.any(axis=1), allowed.shape[1] - 1 - np.argmax(allowed[:, ::-1], axis=1), -1)
    saved = _up_to(np.cumsum(weights * rows.saved, axis=1), place) / total
    taken = _up_to(np.cumsum(weights * rows.taken, axis=1), place) / total
    explored = terms.exploration * (weights @ rows.small_cost) / total
    monthly = terms.requests_a_month * ((1 - terms.exploration) * saved - explored) - terms.rent_a_month
    return np.stack([monthly, (1 - terms.exploration) * taken], axis=1)


def _up_to(sums: Floats, place: Floats) -> Floats:
    found = np.take_along_axis(sums, np.maximum(place, 0)[:, None].astype(int), axis=1)[:, 0]
    return np.where(place >= 0, found, 0.0)
