"""What evaluations, trials and the playground cost: answers that no client asked for, in `cached_answers`.

Invariant: an answer that is used again from the cache is on the bill once, when it was asked for.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from stepdown.ledger import Ledger, schema

EVALUATION, TRIAL, JUDGING, PLAYGROUND = "eval", "trial", "judge", "playground"


class Offline(NamedTuple):
    """Micro-dollars by purpose, and answers whose cost is not known.

    Attributes:
        evaluations: Of suites, and of whatever else was asked to see how models do: the playground, practice.
    """

    evaluations: int = 0
    trials: int = 0
    judging: int = 0
    unpriced: int = 0


def offline_costs(
    ledger: Ledger, task: str, since: datetime | None = None, until: datetime | None = None
) -> Offline:
    """The costs of a task's answers from `since` on, and before `until`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    table = schema.cached_answers
    query = (
        select(
            table.c.purpose,
            func.coalesce(func.sum(table.c.cost_usd_micros), 0).label("cost"),
            (func.count() - func.count(table.c.cost_usd_micros)).label("unpriced"),
        )
        .where(table.c.task == task)
        .group_by(table.c.purpose)
    )
    query = query if since is None else query.where(table.c.at >= since)
    rows = ledger.rows(query if until is None else query.where(table.c.at < until))
    costs = {row.purpose: int(row.cost) for row in rows}
    return Offline(
        evaluations=sum(cost for purpose, cost in costs.items() if purpose not in (TRIAL, JUDGING)),
        trials=costs.get(TRIAL, 0),
        judging=costs.get(JUDGING, 0),
        unpriced=sum(int(row.unpriced) for row in rows),
    )
