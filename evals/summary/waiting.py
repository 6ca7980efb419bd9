"""How many answers wait for the label of a check, and since when.

Invariant: of the requests that are looked at, what waits is what a sweep of `evals.labelling` would find.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from evals.labelling import PREFIX, unlabelled
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings


class Waiting(NamedTuple):
    """Answers that wait for a label, by labeller, and when the oldest of their requests came."""

    by_labeller: Mapping[str, int]
    oldest: datetime | None

    @property
    def answers(self) -> int:
        """All of them."""
        return sum(self.by_labeller.values())


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
    counted = select(found.c.wanted, func.count().label("answers"), func.min(found.c.at).label("oldest"))
    rows = ledger.rows(counted.group_by(found.c.wanted))
    by_labeller = {PREFIX + row.wanted: int(row.answers) for row in rows}
    return Waiting(by_labeller, min((row.oldest for row in rows), default=None))


def newest_since(ledger: Ledger, task_name: str, most: int) -> datetime | None:
    """From when on a task's newest `most` requests came; None where it has no more than these.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = schema.requests.c
    newest = select(requests.at).where(requests.task == task_name).order_by(requests.at.desc())
    rows = ledger.rows(newest.offset(most - 1).limit(2))
    return rows[0].at if len(rows) > 1 else None
