"""How many answers wait for a label of a check, and since when.

Invariant: what waits is what the next sweep of `evals.labelling` would find.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from evals.labelling import Labeller, lacking
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings


class Waiting(NamedTuple):
    """Answers that wait for a label of one labeller, and when the oldest of their requests came."""

    answers: int
    oldest: datetime | None


def waiting_for(
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    labeller: Labeller,
    *,
    since: datetime | None,
    most: int,
) -> Waiting:
    """The answers that a check has yet to label and can, of requests from `since` on; at most `most`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    at = schema.requests.c.at
    wanted = lacking(task_name, task, labeller, (at,))
    wanted = wanted if since is None else wanted.where(at >= since)
    found = wanted.order_by(at).limit(most).subquery()
    row = ledger.rows(select(func.count().label("answers"), func.min(found.c.at).label("oldest")))[0]
    return Waiting(int(row.answers), row.oldest)
