"""Builds the frontier of a task from its ledger.

Invariant: what may be chosen is what the router's own fit certified on its calibration labels, for all losses
together (see `router.fitting.grid`); labels that came later show in the estimates and move no threshold. So
looking at the document again and again costs no confidence.
"""

from __future__ import annotations

import logging
from datetime import datetime

import numpy as np

from evals.choices import offer_of
from evals.frontier.choice import CONFIDENCE, Shown, choices_of, quality_of
from evals.frontier.money import Costs, cost_at, known_costs
from evals.frontier.tree import Baseline, Figure, Frontier, Point
from evals.month import MONTH_S, traffic_of
from evals.outcomes import Outcomes, Prompts, read_prompts
from evals.promotion import JUDGED_BY
from evals.report.curves import curves
from evals.report.held_out import parted, shown_router
from evals.report.savings import MIN_PAIRS
from evals.report.tree import Curves
from router.model import RouterModel
from stepdown.bound_in_force import with_bound
from stepdown.errors import ArtifactError, NotEnoughEvidence
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.prices import rent_usd_micros, rented_per_hour
from stepdown.records import Deployed
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings

log = logging.getLogger(__name__)


def frontier_document(
    ledger: Ledger,
    settings: Settings,
    task_name: str,
    outcomes: Outcomes,
    *,
    prompts: Prompts | None = None,
    at: datetime | None = None,
) -> Frontier | None:
    """The frontier of one task.

    Args:
        ledger: Where everything is.
        settings: For prices and for what the task was promised.
        task_name: Name of the task.
        outcomes: Of the task and its small model in service, as `read_outcomes` gives them.
        prompts: Of the labelled pairs, where they were read already.
        at: The present; None asks the clock.

    Returns:
        None where no router was fitted yet, or the one to be shown cannot be read.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    registry = Registry(ledger)
    current = registry.current(task_name)
    try:
        router = shown_router(ledger, task_name, current)
        if router is None:
            return None
        offer = offer_of(registry, router)
        model = RouterModel.from_bytes(router.content)
    except ArtifactError as error:
        log.warning("task %s has no frontier: %s", task_name, error)
        return None
    labelled = outcomes.labelled_pairs
    known = read_prompts(ledger, labelled["body"]) if prompts is None else prompts
    deployed = current.deployed if current else Deployed()
    task = with_bound(settings.tasks.get(task_name, TaskSettings()), deployed)
    shown = Shown(
        task=task,
        router=router,
        threshold=model.threshold,
        offer=offer,
        parts=parted(router, model, labelled, known),
        traffic=traffic_of(outcomes.requests, at or now()),
        rent=rent_usd_micros(rented_per_hour(settings, task), MONTH_S),
        deployed=deployed,
    )
    return _document(task_name, shown, current.sequence if current else 0)


def _document(task_name: str, shown: Shown, sequence: int) -> Frontier:
    missing: list[str] = []
    curve, costs = _curves(shown, missing), known_costs(shown.rows)
    operating, *choices = choices_of(shown, costs)
    _add_gaps(missing, shown, costs)
    strong, small = (quality_of(shown.rows, shown.rows[f"{tier}_good"]) for tier in ("strong", "small"))
    return Frontier(
        task=task_name,
        router=shown.router.id,
        fitted=shown.offer.fitted.id,
        mode=shown.deployed.mode.value,
        sequence=sequence,
        max_quality_loss=shown.task.max_quality_loss,
        by_hand=shown.deployed.max_quality_loss is not None,
        confidence=shown.task.confidence,
        together=shown.offer.together,
        certify_on=str(shown.offer.fitted.settings.get("certify_on", "trusted")),
        judged_by=tuple(shown.offer.fitted.summary.get(JUDGED_BY, ())),
        interval_confidence=CONFIDENCE,
        pairs=len(shown.rows),
        calibration=int((~shown.rows["later"]).sum()),
        later=int(shown.rows["later"].sum()),
        points=_points(curve, costs) if curve else (),
        baselines=tuple(Baseline(one.name, one.quality_curve, Figure.of(one.apgr)) for one in curve.rankings)
        if curve
        else (),
        strong=strong,
        small=small,
        strong_usd_micros=float(costs.strong.mean()) if costs.enough else None,
        small_usd_micros=float(costs.small.mean()) if costs.enough else None,
        operating=operating,
        choices=tuple(choices),
        requests_a_month=shown.traffic.requests_a_month,
        counted_days=shown.traffic.counted_days,
        rent_a_month_usd_micros=shown.rent,
        missing=tuple(missing),
    )


def _curves(shown: Shown, missing: list[str]) -> Curves | None:
    epsilon = float(shown.router.settings["epsilon"])
    try:
        return curves(shown.router.id, epsilon, shown.threshold, shown.parts, CONFIDENCE)
    except NotEnoughEvidence as error:
        missing.append(str(error))
        return None


def _points(curve: Curves, costs: Costs) -> tuple[Point, ...]:
    shares = np.array(curve.strong_share)
    spent = (
        [round(float(cost), 3) for cost in cost_at(costs, shares)] if costs.enough else [None] * len(shares)
    )
    columns = (curve.strong_share, curve.rankings[0].quality_curve, curve.low, curve.high, spent)
    return tuple(Point(*values) for values in zip(*columns, strict=True))


def _add_gaps(missing: list[str], shown: Shown, costs: Costs) -> None:
    if not shown.offer.choices:
        missing.append("this router was fitted without other bounds to choose; the next fit brings them")
    if not costs.enough:
        missing.append(
            f"what a bound saves needs {MIN_PAIRS - len(costs.rows)} more held-out pairs whose cost is known "
            f"on both models: there are {len(costs.rows)}"
        )
    if not shown.traffic.requests_a_month:
        missing.append("what a month saves needs requests; there were none in the last week")
