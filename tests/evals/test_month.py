"""A month's traffic is that of the last week, and the outlook and the frontier project from the same."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from evals.month import Traffic, traffic_of
from evals.outcomes import read_outcomes
from evals.summary.documents import Outlook
from evals.summary.keep import keep_summaries
from evals.summary.kept import newest
from stepdown.ledger import Ledger
from stepdown.records import Reason
from tests.evals.frontier import scene
from tests.evals.ledgers import START, Writer

DAY = timedelta(days=1)


def requests(*days: float, reason: str | None = Reason.MODE_STRONG) -> pd.DataFrame:
    at = [pd.Timestamp(START + day * DAY) for day in days]
    return pd.DataFrame({"at": at, "reason": pd.Series([reason] * len(days), dtype=object)})


def test_a_month_is_as_the_days_since_the_first_request() -> None:
    assert traffic_of(requests(0, 1, 3), START + 4 * DAY) == Traffic(3 / 4 * 30, 4.0)


def test_what_came_before_the_last_week_says_no_more_than_that_it_is_a_whole_week() -> None:
    assert traffic_of(requests(0, 1, 29), START + 30 * DAY) == Traffic(1 / 7 * 30, 7.0)
    assert traffic_of(requests(0, 1), START + 30 * DAY) == Traffic(0.0, 7.0)


def test_a_task_younger_than_a_day_is_not_taken_to_go_on_as_it_began() -> None:
    assert traffic_of(requests(0.9, 0.95), START + DAY) == Traffic(60.0, 1.0)


def test_only_what_the_policy_decided_until_the_present_is_counted() -> None:
    assert traffic_of(requests(0, reason=Reason.NAMED), START + DAY) == Traffic(0.0, 7.0)
    assert traffic_of(requests(0, reason=None), START + DAY) == Traffic(0.0, 7.0)
    assert traffic_of(requests(0, 2), START + DAY).requests_a_month == 30
    assert traffic_of(requests(), START + DAY) == Traffic(0.0, 7.0)


def test_the_outlook_and_the_frontier_have_the_same_requests_a_month(ledger: Ledger) -> None:
    scene.write(Writer(ledger), 0, 300)
    declared = scene.settings()
    scene.fit(ledger, declared)
    outcomes = read_outcomes(ledger, scene.TASK)
    keep_summaries(ledger, declared, scene.TASK, outcomes=outcomes, at=START + scene.LATER)
    kept = newest(ledger, scene.TASK, Outlook)
    assert kept is not None
    assert kept.document.requests_a_month == round(scene.document(ledger, declared).requests_a_month) > 0
