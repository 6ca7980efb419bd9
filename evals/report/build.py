"""Builds the report of a task from its ledger.

Invariant: what cannot be said is named in `missing` with what it needs, and never stops the rest. The
module reads the ledger and decides which rows each figure sees; the figures are computed by pure modules.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from evals.outcomes import Outcomes, Prompts, read_outcomes, read_prompts
from evals.report import traffic
from evals.report.curves import curves
from evals.report.held_out import parted, shown_router
from evals.report.labels import Labels, read_labels
from evals.report.machines import machine_costs
from evals.report.offline import offline_costs
from evals.report.quality import audit, promise
from evals.report.savings import Rates, bill
from evals.report.tree import Curves, Report
from router.model import RouterModel
from stepdown.errors import ArtifactError, LedgerError, NotEnoughEvidence, SettingsError
from stepdown.ledger import Ledger
from stepdown.prices import price_of, rented_per_hour
from stepdown.records import Artifact, Mode
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings

CONFIDENCE = 0.95
T = TypeVar("T")


def build_report(
    ledger: Ledger,
    settings: Settings,
    task: str,
    *,
    since: datetime | None = None,
    outcomes: Outcomes | None = None,
) -> Report:
    """The report of one task.

    Args:
        ledger: Where it was all written down.
        settings: For prices and for what the task was promised.
        task: Name of the task.
        since: Leave out requests from before this moment. The router's fit part, and the pairs from which
            the cost of strong is estimated, are of all time.
        outcomes: All outcomes of the task, where they have been read already.

    Raises:
        SettingsError: The task is not declared and has no requests.
        LedgerError: The ledger cannot be read.
    """
    wanted = settings.tasks.get(task) or TaskSettings()
    everything = outcomes or read_outcomes(ledger, task, audit_share=wanted.audit_share)
    _refuse_unknown(settings, task, everything)
    period = everything.since(since)
    missing: list[str] = []
    promotion = _say(missing, lambda: Registry(ledger).current(task))
    router = _say(missing, lambda: shown_router(ledger, task, promotion))
    in_route = traffic.routed(period)
    any_routed = not in_route.requests.empty
    labelled = everything.labelled_pairs
    prompts = read_prompts(ledger, labelled["body"]) if router is not None else Prompts({}, 0)
    rates = rates_of(settings, wanted)
    history, offline = everything.pairs_by_small, offline_costs(ledger, task, since)
    machines = machine_costs(ledger, task, since)
    _add_gaps(missing, wanted, everything, in_route, router)
    return Report(
        task=task,
        mode=promotion.mode.value if promotion else Mode.STRONG.value,
        confidence=CONFIDENCE,
        served=traffic.served(period),
        calls=traffic.call_lines(period, CONFIDENCE),
        bill=_say(missing, lambda: bill(period, history, rates, CONFIDENCE, offline, machines)),
        routed_bill=_say(missing, lambda: bill(in_route, history, rates, CONFIDENCE)) if any_routed else None,
        audit=audit(period, CONFIDENCE) if period.requests["explored"].any() else None,
        promise=promise(router.id, router.settings, router.summary) if router else None,
        received=traffic.received(period, CONFIDENCE),
        coverage=traffic.coverage(in_route.requests, CONFIDENCE) if any_routed else None,
        slices=traffic.slice_lines(period, CONFIDENCE),
        curves=_say(missing, lambda: _curves(router, labelled, prompts)),
        labels=_say(missing, lambda: _labels(missing, ledger, task, wanted, everything, period)),
        labelled_pairs=len(labelled),
        labelled_prompts=int(labelled["prompt_hash"].nunique()),
        skipped_bodies=prompts.skipped,
        missing=tuple(dict.fromkeys(missing)),
    )


def _refuse_unknown(settings: Settings, task: str, everything: Outcomes) -> None:
    if task not in settings.tasks and everything.requests.empty:
        known = ", ".join(settings.tasks) or "none"
        raise SettingsError(f"task {task!r} is not declared and has no requests; declared tasks: {known}")


def _say(missing: list[str], make: Callable[[], T]) -> T | None:
    """A figure, or None with the reason among what is missing."""
    try:
        return make()
    except (NotEnoughEvidence, ArtifactError, LedgerError) as error:
        missing.append(str(error))
        return None


def _labels(
    missing: list[str],
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    everything: Outcomes,
    period: Outcomes,
) -> Labels | None:
    return read_labels(
        ledger, task_name, task, everything, period, CONFIDENCE, lambda make: _say(missing, make)
    )


def rates_of(settings: Settings, task: TaskSettings | None) -> Rates:
    """The prices that a bill of the task needs."""
    task = task or TaskSettings()
    strong = settings.models.get(task.strong)
    return Rates(price_of(strong) if strong else None, rented_per_hour(settings, task))


def _curves(router: Artifact | None, pairs: pd.DataFrame, prompts: Prompts) -> Curves | None:
    if router is None:
        return None
    model = RouterModel.from_bytes(router.content)
    parts = parted(router, model, pairs, prompts)
    return curves(router.id, float(router.settings["epsilon"]), model.threshold, parts, CONFIDENCE)


def _add_gaps(
    missing: list[str], task: TaskSettings, everything: Outcomes, in_route: Outcomes, router: Any
) -> None:
    """Say what the task has yet to gather."""
    prompts = int(everything.labelled_pairs["prompt_hash"].nunique())
    if not prompts and not task.checks and not task.judges:
        missing.append(
            "no answer can be labelled, as the task declares no check: add [tasks.NAME.checks.CHECK] with "
            'its `kind`, and check = "CHECK", or a judge, [tasks.NAME.judges.JUDGE] with its `model`'
        )
    if task.small is None:
        missing.append(
            "no small model is configured for this task: set tasks.NAME.small to an alias in [models]"
        )
    elif router is None and prompts < task.min_labels:
        missing.append(
            f"a router needs {task.min_labels - prompts} more labelled prompts: {prompts} of "
            f"{task.min_labels} are labelled for both models"
        )
    elif router is None:
        missing.append(f"no router was fitted yet; {prompts} prompts are labelled for both models")
    if in_route.requests.empty:
        missing.append("coverage and the audit need requests in mode route; there are none in this period")
