"""How many answers wait for the label of a check, and since when.

Invariant: of the requests that are looked at, what waits is what a sweep of `evals.labelling` would find.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from evals.labelling import unlabelled
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings


class Waiting(NamedTuple):
    """How many answers wait for a label, and when the oldest of their requests came."""

    answers: int
    oldest: datetime | None


def waiting_for_checks(
    ledger: Ledger, task_name: str, task: TaskSettings, *, since: datetime | None, most: int
) -> Waiting:
    """The answers that checks have yet to label and can, of requests from `since` on; the oldest `most`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    at = schema.requests.c.at
    wanted = unlabelled(task_name, task, (at,))
    wanted = wanted if since is None else wanted.where(at >= since)
    found = wanted.order_by(at).limit(most).subquery()
    (row,) = ledger.rows(select(func.count().label("answers"), func.min(found.c.at).label("oldest")))
    return Waiting(row.answers, row.oldest)


def newest_since(ledger: Ledger, task_name: str, most: int) -> datetime | None:
    """From when on a task's newest `most` requests came; None where it has no more than these.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = schema.requests.c
    newest = select(requests.at).where(requests.task == task_name).order_by(requests.at.desc())
    rows = ledger.rows(newest.offset(most - 1).limit(2))
    return rows[0].at if len(rows) > 1 else None
