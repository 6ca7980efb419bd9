"""Makes the documents of a task and keeps them, all from one read of its outcomes.

Invariant: a document that cannot be made leaves the one before, and keeps no other from being made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from evals.frontier import Frontier, frontier_document
from evals.outcomes import Outcomes, read_outcomes
from evals.report.keep import keep_report
from evals.summary.days import days
from evals.summary.kept import keep
from evals.summary.outlook import outlook
from evals.summary.query_types import slices_if_due
from evals.summary.scene import Scene, see
from evals.summary.totals import totals
from stepdown.errors import ArtifactError, LedgerError, NotEnoughEvidence
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import Settings, TaskSettings

log = logging.getLogger(__name__)


def frontier(scene: Scene) -> Frontier | None:
    """What the router could do at other bounds; None where there is no router yet."""
    return frontier_document(scene.ledger, scene.settings, scene.task, scene.everything, at=scene.at)


MAKERS: Mapping[str, Callable[[Scene], Any]] = {
    "totals": totals,
    "days": days,
    "outlook": outlook,
    "frontier": frontier,
    "slices": slices_if_due,
}


def report_and_summaries(ledger: Ledger, settings: Settings, task: str) -> None:
    """Keep a task's report and its documents, from one read of its outcomes.

    Raises:
        SettingsError: The task is not declared and has no requests.
        LedgerError: The ledger refused.
    """
    declared = settings.tasks.get(task, TaskSettings())
    outcomes = read_outcomes(ledger, task, audit_share=declared.audit_share)
    keep_report(ledger, settings, task, outcomes=outcomes)
    keep_summaries(ledger, settings, task, outcomes=outcomes)


def keep_summaries(
    ledger: Ledger,
    settings: Settings,
    task: str,
    *,
    outcomes: Outcomes | None = None,
    at: datetime | None = None,
) -> tuple[str, ...]:
    """Make the documents of a task anew and keep them.

    Args:
        ledger: What they are made from, and where they are kept.
        settings: All settings.
        task: Name of the task.
        outcomes: All its outcomes, where they have been read already.
        at: The present; None asks the clock.

    Returns:
        The names of the documents that were kept.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    scene = see(ledger, settings, task, at or now(), outcomes)
    return tuple(name for name, make in MAKERS.items() if _kept(scene, name, make))


def _kept(scene: Scene, name: str, make: Callable[[Scene], Any]) -> bool:
    try:
        document = make(scene)
    except (ArtifactError, LedgerError, NotEnoughEvidence) as error:
        log.warning("task %s: %s cannot be made: %s", scene.task, name, error)
        return False
    if document is not None:
        keep(scene.ledger, scene.task, document)
    return document is not None
