"""The bill of a stretch of time, and why there is none.

Invariant: the bills of stretches that follow each other add up: the rent of the small model's hardware is
that of the stretch, from the task's first decided request to its last, whether or not it was busy.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import pandas as pd

from evals.outcomes import Outcomes
from evals.report.machines import Machines, machine_costs
from evals.report.offline import Offline, offline_costs
from evals.report.savings import bill
from evals.report.tree import Money
from evals.summary.documents import Billed, Measured
from evals.summary.scene import CONFIDENCE, Scene
from stepdown.errors import NotEnoughEvidence
from stepdown.prices import rent_usd_micros
from stepdown.records import Reason


class Stretch(NamedTuple):
    """A stretch of time and its requests.

    Attributes:
        start: None is the beginning of what is looked at.
        end: None is the present.
    """

    start: datetime | None
    end: datetime | None
    outcomes: Outcomes


class BillOrWhy(NamedTuple):
    """A bill, or in words why there is none."""

    bill: Billed | None
    why: str = ""


def bill_of(scene: Scene, stretch: Stretch) -> BillOrWhy:
    """The bill of a stretch.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    offline = offline_costs(scene.ledger, scene.task, stretch.start or scene.since, stretch.end)
    machines = machine_costs(scene.ledger, scene.task, stretch.start or scene.since, stretch.end)
    rent = _rent(scene, stretch)
    requests = stretch.outcomes.requests
    if not (requests["reason"].notna() & (requests["reason"] != Reason.NAMED)).any():
        return BillOrWhy(_idle(stretch.outcomes, offline, machines, rent))
    try:
        made = bill(
            stretch.outcomes, scene.history, scene.rates, CONFIDENCE, offline, machines, rent, scene.draws
        )
    except NotEnoughEvidence as error:
        return BillOrWhy(None, str(error))
    return BillOrWhy(Billed.of(made))


def _rent(scene: Scene, stretch: Stretch) -> int:
    """The difference of two rounded sums, so that the parts of a time add up to the whole."""
    decided = scene.decided["at"]
    if decided.empty:
        return 0
    first, last = decided.min(), decided.max()

    def until(moment: pd.Timestamp) -> int:
        seconds = (min(max(moment, first), last) - first).total_seconds()
        return round(rent_usd_micros(scene.rates.small_usd_per_hour, seconds))

    start = first if stretch.start is None else pd.Timestamp(stretch.start)
    end = last if stretch.end is None else pd.Timestamp(stretch.end)
    return until(end) - until(start)


def _idle(outcomes: Outcomes, offline: Offline, machines: Machines, rent: int) -> Billed:
    """What was spent while nothing was decided."""
    calls = outcomes.calls
    judging = int(calls.loc[calls["role"] == "judge", "cost_usd_micros"].sum())
    judging += int(calls["label_cost_usd_micros"].sum()) + offline.judging
    spent = judging + offline.evaluations + offline.trials + rent + machines.usd_micros
    nothing = dict.fromkeys(
        ("requests", "answered_small", "live", "candidates", "shadow", "exploration", "escalation"), 0
    )
    return Billed(
        **nothing,
        judge=judging,
        evaluations=offline.evaluations,
        trials=offline.trials,
        rent=rent,
        distillation=machines.usd_micros,
        actual=spent,
        counterfactual=Money(0, 0, 0, 0),
        gross=Money(0, 0, 0, 0),
        net=Money(-spent, -spent, -spent, 0),
        net_share=Measured(None, None, None, 0),
        excluded=0,
        unpriced=offline.unpriced,
        unpriced_machine_s=machines.unpriced_s,
        method="known: the policy decided on no request",
    )
