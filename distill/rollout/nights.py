"""When nights had a small model's servers answer many prompts at a time, which slows its live traffic.

Invariant: a stage whose process died counts no longer than the time that it may take. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from typing import Any

from sqlalchemy import select

from distill.bill.service import Period
from distill.night.budget import minutes_of
from distill.night.machine import ENDED, Stage
from stepdown.ledger import Ledger, schema
from stepdown.settings import Settings

ASKING = (Stage.EVALUATE, Stage.PRACTICE, Stage.RELABEL)


def asked_by_nights(ledger: Ledger, settings: Settings, alias: str | None, since: datetime) -> list[Period]:
    """When nights of any task whose small model is `alias` asked its servers, as far as that reaches `since`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    asking = {
        name: {stage: timedelta(minutes=minutes_of(stage, task.student)) for stage in ASKING}
        for name, task in settings.tasks.items()
        if task.small == alias and task.student is not None
    }
    longest = max((most for stages in asking.values() for most in stages.values()), default=timedelta(0))
    n, e = schema.nights, schema.night_events
    query = (
        select(n.c.task, e.c.night, e.c.stage, e.c.event, e.c.at)
        .select_from(e.join(n, n.c.id == e.c.night))
        .where(n.c.task.in_(list(asking)), e.c.stage.in_(list(map(str, ASKING))), e.c.at >= since - longest)
        .order_by(e.c.night, e.c.stage, e.c.at)
    )
    stages = groupby(ledger.rows(query), key=lambda row: (row.task, row.night, row.stage))
    return [
        period
        for (task, _, stage), events in stages
        for period in _periods(list(events), asking[task][stage])
    ]


def _periods(events: list[Any], most: timedelta) -> Iterator[Period]:
    """From each beginning of a stage to its end, or to when it was begun again."""
    for begun, after in zip_longest(events, events[1:]):
        if begun.event != ENDED:
            latest = begun.at + most
            yield Period(begun.at, min(after.at, latest) if after else latest)
