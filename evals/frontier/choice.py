"""What each bound buys: coverage, quality and money at the threshold that is certified for it. Pure.

Invariant: a bound at which nothing is certified buys exactly nothing, and says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from evals.choices import Offer
from evals.frontier.money import Costs, Spent, spent_at
from evals.frontier.tree import Choice, Figure
from evals.metrics.intervals import Estimate, Floats, mean_outcome, paired_difference
from evals.month import Traffic
from evals.report.curves import Parts
from router.fitting.bound import Certificate
from router.fitting.grid import from_values
from stepdown.records import Artifact, Deployed, Mode
from stepdown.settings import TaskSettings

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Shown:
    """What the document is about.

    Attributes:
        task: Its settings under the bound in force.
        threshold: Of the router that is shown.
        rent: Micro-dollars a month.
    """

    task: TaskSettings
    router: Artifact
    threshold: float
    offer: Offer
    parts: Parts
    traffic: Traffic
    rent: float
    deployed: Deployed

    @property
    def rows(self) -> pd.DataFrame:
        """The held-out pairs."""
        return self.parts.held_out

    @property
    def is_routing(self) -> bool:
        """Whether the router is in force."""
        return self.deployed.mode is Mode.ROUTE and self.deployed.artifact == self.router.id


class _Certified(NamedTuple):
    """A bound and what is certified under it; `certificate` is None where nothing goes to small."""

    loss: float
    certificate: Certificate | None
    in_force: bool = False


def choices_of(shown: Shown, costs: Costs) -> list[Choice]:
    """What the bound in force buys, and then what each loss of the grid does."""
    offer, bound = shown.offer, shown.task.max_quality_loss
    now_certified = _in_force(shown) if shown.is_routing else offer.best(bound)
    losses = sorted({bound, *(one.epsilon for one in offer.choices or (offer.own,))})
    wanted = [_Certified(bound, now_certified, shown.is_routing)]
    wanted += [
        _Certified(
            loss, now_certified if loss == bound else offer.best(loss), shown.is_routing and loss == bound
        )
        for loss in losses
    ]
    thresholds = np.array([one.certificate.threshold if one.certificate else -math.inf for one in wanted])
    spent: list[Spent | None] = [None] * len(wanted)
    if costs.enough:
        spent = [*spent_at(costs, thresholds, shown.task.exploration, CONFIDENCE)]
    return [_choice(shown, one, costs_of) for one, costs_of in zip(wanted, spent, strict=True)]


def _in_force(shown: Shown) -> Certificate | None:
    """The certificate of the router in force, where it gives small anything."""
    found = from_values(shown.router.summary["certificate"])
    return found if found.coverage > 0 else None


def _choice(shown: Shown, wanted: _Certified, spent: Spent | None) -> Choice:
    rows, certificate = shown.rows, wanted.certificate
    if certificate is None:
        return _nothing(shown, wanted.loss, spent)
    takes_small = rows["gain"].to_numpy(dtype=np.float64) <= certificate.threshold
    answered = np.where(takes_small, rows["small_good"], rows["strong_good"]).astype(np.float64)
    groups = rows["prompt_hash"].to_numpy(dtype=str)
    saving = spent.saving if spent else None
    return Choice(
        max_quality_loss=wanted.loss,
        certified_for=certificate.epsilon,
        threshold=certificate.threshold,
        regrets=certificate.regrets,
        served=certificate.served,
        n=certificate.n,
        upper=certificate.upper,
        confidence=1 - certificate.delta,
        reason=certificate.reason,
        coverage=quality_of(rows, takes_small.astype(np.float64)),
        quality=quality_of(rows, answered),
        difference=Figure.of(paired_difference(answered, rows["strong_good"], CONFIDENCE, groups=groups)),
        cost_usd_micros=Figure.of(spent.cost) if spent else None,
        saving_usd_micros=Figure.of(saving) if saving else None,
        saving_a_month_usd_micros=_a_month(shown, saving) if saving else None,
        in_force=wanted.in_force,
    )


def _nothing(shown: Shown, loss: float, spent: Spent | None) -> Choice:
    """All requests go to strong: nothing is saved and nothing lost, which needs no estimate."""
    tried = shown.offer.tried(loss)
    zero = Figure(0.0, 0.0, 0.0, len(shown.rows))
    return Choice(
        max_quality_loss=loss,
        certified_for=None,
        threshold=None,
        regrets=0,
        served=0,
        n=tried.n,
        upper=tried.upper,
        confidence=1 - tried.delta,
        reason=shown.offer.why_not(loss),
        coverage=zero,
        quality=quality_of(shown.rows, shown.rows["strong_good"]),
        difference=zero,
        cost_usd_micros=Figure.of(spent.cost) if spent else None,
        saving_usd_micros=zero,
        saving_a_month_usd_micros=zero,
        in_force=False,
    )


def quality_of(rows: pd.DataFrame, outcomes: Floats | pd.Series[Any]) -> Figure:
    """The mean of outcomes of held-out pairs, one a row."""
    groups = rows["prompt_hash"].to_numpy(dtype=str)
    return Figure.of(mean_outcome(outcomes, groups=groups, confidence=CONFIDENCE))


def _a_month(shown: Shown, saving: Estimate) -> Figure | None:
    requests = shown.traffic.requests_a_month
    if not requests:
        return None
    value, low, high = (end * requests - shown.rent for end in saving[:3])
    return Figure.of(Estimate(value, low, high, saving.n))
