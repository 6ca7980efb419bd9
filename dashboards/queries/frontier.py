"""What the page of the frontier knows: the kept document, and what is in force now.

Invariant: reads one summary, the newest promotion and at most one artifact's parents; never outcomes.
Where the document is older than what is in force, what is in force is found in it if it is of the same fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from evals.frontier import Choice, Frontier
from evals.refit import ROUTER
from evals.summary.documents import Outlook
from evals.summary.kept import newest
from stepdown.bound_in_force import with_bound
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands.

    Attributes:
        task: Its settings under the bound in force.
        deployed: What is in force.
        sequence: Of the promotion in force; 0 is none.
        at: When the document was kept, or None.
        document: None where none is kept.
        in_force: What of the document the task is routed by now; None where it is not, or the document is of
            another fit.
        routers: How many the task has.
        outlook: What is missing, where the workers said so.
    """

    task: TaskSettings
    deployed: Deployed
    sequence: int
    at: datetime | None
    document: Frontier | None
    in_force: Choice | None
    routers: int
    outlook: Outlook | None

    @property
    def bound(self) -> float:
        """The allowed quality loss in force."""
        return self.task.max_quality_loss

    @property
    def is_stale(self) -> bool:
        """Whether something was promoted since the document was made."""
        return self.document is not None and self.document.sequence != self.sequence


def standing_of(ledger: Ledger, settings: Settings, task_name: str) -> Standing:
    """Where a task stands.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    registry, kept = Registry(ledger), newest(ledger, task_name, Frontier)
    current = registry.current(task_name)
    deployed = current.deployed if current else Deployed()
    sequence = current.sequence if current else 0
    task = with_bound(settings.tasks.get(task_name, TaskSettings()), deployed)
    document = kept.document if kept else None
    outlook = None if document else newest(ledger, task_name, Outlook)
    return Standing(
        task=task,
        deployed=deployed,
        sequence=sequence,
        at=kept.at if kept else None,
        document=document,
        in_force=_in_force(ledger, document, deployed, sequence, task) if document else None,
        routers=0 if document else registry.count(ROUTER, task_name),
        outlook=outlook.document if outlook else None,
    )


def _in_force(
    ledger: Ledger, document: Frontier, deployed: Deployed, sequence: int, task: TaskSettings
) -> Choice | None:
    if deployed.mode is not Mode.ROUTE or deployed.artifact is None:
        return None
    if sequence == document.sequence:
        return document.operating if document.operating.in_force else None
    if document.fitted not in (deployed.artifact, *_parents(ledger, deployed.artifact)):
        return None
    return document.at(task.max_quality_loss)


def _parents(ledger: Ledger, artifact: str) -> tuple[str, ...]:
    table = schema.artifacts
    rows = ledger.rows(select(table.c.parents).where(table.c.id == artifact))
    return tuple(rows[0].parents) if rows else ()
