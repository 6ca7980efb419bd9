"""What the hours of machines cost beside calls: training and export of students, as the ledger has them.

Invariant: an hour whose price is not known is counted as such, and never as free.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from stepdown.ledger import Ledger, schema


class Machines(NamedTuple):
    """Micro-dollars of the hours whose price is known, and the seconds of those whose price is not."""

    usd_micros: int = 0
    unpriced_s: float = 0.0


def machine_costs(
    ledger: Ledger, task: str, since: datetime | None = None, until: datetime | None = None
) -> Machines:
    """The expenses of a task from `since` on, and before `until`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    table = schema.expenses
    query = select(table.c.seconds, table.c.cost_usd_micros).where(table.c.task == task)
    query = query if since is None else query.where(table.c.at >= since)
    rows = ledger.rows(query if until is None else query.where(table.c.at < until))
    return Machines(
        usd_micros=sum(int(row.cost_usd_micros) for row in rows if row.cost_usd_micros is not None),
        unpriced_s=float(sum(row.seconds for row in rows if row.cost_usd_micros is None)),
    )
