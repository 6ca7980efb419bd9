"""When a task's traffic is clustered anew: once in a while, and whenever young traffic has doubled.

Invariant: what is due is read from the ledger, so a worker that was away catches up, and one that is started
often does nothing twice.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from evals.slices.build import SAMPLE, newest_slices, slice_task
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.settings import TaskSettings


def slice_if_due(ledger: Ledger, task_name: str, task: TaskSettings, *, every_s: float) -> bool:
    """Cluster a task's traffic if that is due; whether new slices were made.

    It is due where the newest slices are older than `every_s`, and before that where they know fewer prompts
    than are clustered at most, and twice as many have come: a task's first day is not described by its first
    minute.

    Raises:
        LedgerError: The ledger refused.
    """
    newest = newest_slices(ledger, task_name)
    kept = newest.artifact if newest else None
    prompts = _distinct_prompts(ledger, task_name)
    if not prompts or (kept is not None and not _is_due(kept, prompts, every_s)):
        return False
    return slice_task(ledger, task_name, task).fresh


def _is_due(kept: Artifact, prompts: int, every_s: float) -> bool:
    known = int(kept.summary["prompts"])
    doubled = known < SAMPLE and prompts >= 2 * known
    return doubled or now() - kept.at >= timedelta(seconds=every_s)


def _distinct_prompts(ledger: Ledger, task_name: str) -> int:
    requests = schema.requests
    counted = select(func.count(requests.c.prompt_hash.distinct())).where(requests.c.task == task_name)
    return int(ledger.rows(counted)[0][0])
