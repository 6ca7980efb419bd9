"""Tests of the periods of a page and their buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.queries.period import DAY, HOUR, MOST_BUCKETS, period_of
from stepdown.errors import BadRequest

AT = datetime(2026, 11, 22, 10, 20, tzinfo=UTC)
LONG_AGO = AT - timedelta(days=400)


@pytest.mark.parametrize(("name", "buckets", "width"), [("24h", 24, HOUR), ("7d", 7, DAY), ("30d", 30, DAY)])
def test_a_period_has_as_many_buckets_as_its_name_says(name: str, buckets: int, width: timedelta) -> None:
    period = period_of(name, AT, LONG_AGO)
    starts = list(period.buckets())
    assert len(starts) == buckets
    assert period.width == width
    assert starts[-1] == period.bucket_of(AT)


@pytest.mark.parametrize(
    "age", [timedelta(hours=1), timedelta(days=3), timedelta(days=61), timedelta(days=350)]
)
def test_all_time_begins_with_the_first_request_in_few_buckets(age: timedelta) -> None:
    period = period_of("all", AT, AT - age)
    assert period.since <= AT - age
    assert AT - age - period.since < period.width
    assert len(list(period.buckets())) <= MOST_BUCKETS + 1


def test_all_time_is_a_year_at_most_and_says_so() -> None:
    period = period_of("all", AT, AT - timedelta(days=2000))
    assert timedelta(days=350) < AT - period.since <= timedelta(days=366)
    assert period.words == "the last year"
    assert period_of("all", AT, AT - timedelta(days=100)).words == "all time"


def test_a_young_task_is_shown_by_the_hour_from_its_first_request() -> None:
    period = period_of("30d", AT, AT - timedelta(hours=5))
    assert (period.since, period.width) == (datetime(2026, 11, 22, 5, tzinfo=UTC), HOUR)


def test_a_task_without_requests_has_a_period() -> None:
    assert len(list(period_of("all", AT, None).buckets())) == 31


def test_a_first_request_of_a_clock_that_is_ahead_is_shown_from_the_present() -> None:
    assert period_of("all", AT, AT + DAY).since <= AT


def test_the_whole_of_a_period_is_the_same_for_as_long_as_its_last_bucket_lasts() -> None:
    later = AT + timedelta(minutes=39)
    assert period_of("24h", AT, LONG_AGO).whole == period_of("24h", later, LONG_AGO).whole
    assert period_of("24h", AT, LONG_AGO).whole != period_of("24h", later + HOUR, LONG_AGO).whole


def test_an_unknown_period_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match=r"'2w'.*24h, 7d, 30d, all"):
        period_of("2w", AT, None)
