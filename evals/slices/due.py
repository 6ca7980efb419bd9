"""When a task's traffic is clustered anew: once in a while, by the ledger's own clock.

Invariant: what is due is read from the ledger, so a worker that was away catches up, and one that is started
often does nothing twice.
"""

from __future__ import annotations

from datetime import timedelta

from evals.slices.build import newest_slices, slice_task
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import TaskSettings


def slice_if_due(ledger: Ledger, task_name: str, task: TaskSettings, *, every_s: float) -> bool:
    """Cluster a task's traffic if the newest slices are older than `every_s`; whether new ones were made.

    Raises:
        LedgerError: The ledger refused.
    """
    newest = newest_slices(ledger, task_name)
    kept = newest.artifact if newest else None
    if kept is not None and now() - kept.at < timedelta(seconds=every_s):
        return False
    return slice_task(ledger, task_name, task).fresh
