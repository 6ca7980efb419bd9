"""What traffic a month brings, if it goes on as of late. Pure.

Invariant: what is projected for a month rests on the same days and the same requests, whoever projects it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd

from stepdown.records import Reason

MONTH_DAYS = 30
MONTH_S = MONTH_DAYS * 86_400
WINDOW = timedelta(days=7)
DAY = timedelta(days=1)


class Traffic(NamedTuple):
    """Requests of a month on which the policy decides, as in the days that were counted."""

    requests_a_month: float
    counted_days: float


def traffic_of(requests: pd.DataFrame, at: datetime) -> Traffic:
    """How much traffic a month brings, going on as in the last week, or since the first request.

    A task that is younger than a day is not taken to go on all day as it began.

    Args:
        requests: Of the task, as `Outcomes.requests`.
        at: The present.
    """
    decided = requests["reason"].notna() & (requests["reason"] != Reason.NAMED)
    times = requests.loc[decided & (requests["at"] <= at), "at"]
    if times.empty:
        return Traffic(0.0, WINDOW / DAY)
    start = max(at - WINDOW, times.min())
    days = max(1.0, float((at - start) / DAY))
    return Traffic(int((times >= start).sum()) / days * MONTH_DAYS, days)
