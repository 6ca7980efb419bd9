"""The hours of a task as tables, for those who show them.

Invariant: reads counts and never requests or calls. What has come in the last seconds is not in them yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
from sqlalchemy import Table, select

from evals.rollups.due import tasks_seen
from stepdown.ledger import Ledger, schema

__all__ = ["call_hours", "request_hours", "tasks_seen"]

TIMES = ("latency", "ttft")


def request_hours(
    ledger: Ledger, task: str, since: datetime, until: datetime, *, with_times: bool = True
) -> pd.DataFrame:
    """Counts of requests by hour, mode, reason, tier that answered and HTTP status.

    `mode` and `reason` are empty where nothing was decided, `answered` where no model's answer was received.

    Args:
        ledger: Where the counts are.
        task: Name of the task.
        since: The first hour is the one that begins here or later.
        until: The last hour begins before.
        with_times: Whether to read `latency` too: counts in the buckets of `evals.rollups.buckets`, in
            milliseconds, short of the zeros at their end.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return _read(ledger, schema.request_hours, task, since, until, with_times)


def call_hours(
    ledger: Ledger, task: str, since: datetime, until: datetime, *, with_times: bool = True
) -> pd.DataFrame:
    """Counts of calls by the hour of their request, model, tier and role.

    `cost_usd_micros` is of the calls whose cost is known, and `unpriced` counts answered calls whose cost is
    not. `latency` and `ttft` are of answered calls alone. Arguments are those of `request_hours`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return _read(ledger, schema.call_hours, task, since, until, with_times)


def _read(
    ledger: Ledger, table: Table, task: str, since: datetime, until: datetime, with_times: bool
) -> pd.DataFrame:
    columns = [column for column in table.columns if with_times or column.name not in TIMES]
    wanted = select(*columns).where(table.c.task == task, table.c.hour >= since, table.c.hour < until)
    rows = ledger.rows(wanted.order_by(table.c.hour))
    return _frame([tuple(row) for row in rows], [column.name for column in columns])


def _frame(rows: list[tuple[object, ...]], names: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(names))
    frame["hour"] = pd.to_datetime(frame["hour"], utc=True)
    return frame
