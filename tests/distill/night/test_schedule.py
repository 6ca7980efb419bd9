"""When nights begin: time zones, clocks that are put forward and back, machines that were off."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.night.schedule import (
    Moment,
    due,
    hand_started_night,
    last_moment,
    moment_of,
    next_moment,
    scheduled_night,
)
from stepdown.records import Night
from stepdown.settings import NightSettings

BERLIN = NightSettings(at="02:30", timezone="Europe/Berlin")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def run(settings: NightSettings, times: list[datetime], nights: list[Night] | None = None) -> list[str]:
    """The dates of the nights that are begun by looks at these times."""
    begun = nights if nights is not None else []
    for at in times:
        if moment := due(at, settings, begun, LONG_AGO):
            begun.append(scheduled_night("t", moment, at, "auto"))
    return [night.date for night in begun]


def hourly(start: str, hours: int) -> list[datetime]:
    return [utc(start) + timedelta(hours=n) for n in range(hours)]


def test_a_night_begins_at_its_time_in_its_time_zone() -> None:
    assert last_moment(utc("2026-11-22T01:29:59"), BERLIN).date == date(2026, 11, 21)
    assert last_moment(utc("2026-11-22T01:30:00"), BERLIN) == Moment(
        utc("2026-11-22T01:30"), date(2026, 11, 22)
    )


def test_in_summer_it_begins_at_the_same_time_of_the_clock() -> None:
    assert moment_of(date(2026, 7, 1), BERLIN).at == utc("2026-07-01T00:30")


def test_a_time_that_clocks_are_put_forward_over_is_as_long_after_the_gap_began() -> None:
    assert moment_of(date(2026, 3, 29), BERLIN).at == utc("2026-03-29T01:30")  # 03:30 in Berlin


def test_of_a_time_that_a_date_has_twice_the_first_counts_and_one_night_is_run() -> None:
    assert moment_of(date(2026, 10, 25), BERLIN).at == utc("2026-10-25T00:30")  # the first 02:30
    half_hours = [utc("2026-10-24T12:00") + timedelta(minutes=30 * n) for n in range(48)]
    assert run(BERLIN, half_hours) == ["2026-10-24", "2026-10-25"]


def test_a_date_that_a_place_never_had_does_no_harm() -> None:
    samoa = NightSettings(at="02:30", timezone="Pacific/Apia")  # went from 29 to 31 December 2011
    begun = run(samoa, hourly("2011-12-28T18:00", 96))
    assert begun == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]


def test_looks_all_day_long_begin_one_night_a_date() -> None:
    assert run(BERLIN, hourly("2026-11-20T00:00", 72)) == [
        "2026-11-19",
        "2026-11-20",
        "2026-11-21",
        "2026-11-22",
    ]


def test_after_a_week_without_power_one_night_is_caught_up_the_newest() -> None:
    begun = [scheduled_night("t", moment_of(date(2026, 11, 10), BERLIN), utc("2026-11-10T01:30"), "auto")]
    assert run(BERLIN, hourly("2026-11-17T14:00", 3), begun) == ["2026-11-10", "2026-11-17"]


def test_a_clock_that_jumps_back_runs_no_date_twice() -> None:
    times = [
        utc("2026-11-22T02:00"),
        utc("2026-11-20T02:00"),
        utc("2026-11-21T09:00"),
        utc("2026-11-22T03:00"),
    ]
    assert run(BERLIN, [*times, utc("2026-11-23T02:00")]) == ["2026-11-22", "2026-11-23"]


def test_a_clock_that_jumps_ahead_runs_one_night_and_no_other_until_that_date_is_past() -> None:
    ahead = utc("2026-11-27T05:00")
    begun: list[Night] = []
    assert run(BERLIN, [utc("2026-11-22T02:00"), ahead, ahead + timedelta(hours=1)], begun) == [
        "2026-11-22",
        "2026-11-27",
    ]
    assert run(BERLIN, hourly("2026-11-23T00:00", 24), begun)[2:] == []
    assert next_moment(utc("2026-11-23T00:00"), BERLIN, begun).date == date(2026, 11, 28)
    assert run(BERLIN, [utc("2026-11-28T02:00")], begun)[2:] == ["2026-11-28"]


def test_a_night_of_a_clock_that_was_years_ahead_keeps_no_other_from_being_begun() -> None:
    begun: list[Night] = []
    run(BERLIN, [utc("2026-11-22T02:00"), utc("2036-01-01T05:00")], begun)
    assert next_moment(utc("2026-11-22T12:00"), BERLIN, begun).date == date(2026, 11, 23)
    assert run(BERLIN, hourly("2026-11-22T12:00", 48), begun)[2:] == ["2026-11-23", "2026-11-24"]
    by_hand = hand_started_night("t", utc("2036-01-01T05:00"), BERLIN, "ann")
    assert due(utc("2026-11-22T14:00"), BERLIN, [by_hand], LONG_AGO) is not None


def test_a_new_install_does_not_begin_with_the_night_of_a_moment_before_its_first_request() -> None:
    first = utc("2026-11-22T14:00")
    assert due(utc("2026-11-22T14:05"), BERLIN, [], first) is None
    moment = due(utc("2026-11-23T01:31"), BERLIN, [], first)
    assert moment is not None
    assert moment.date == date(2026, 11, 23)


def test_a_task_that_was_asked_nothing_has_no_nights() -> None:
    assert due(utc("2026-11-23T01:31"), BERLIN, [], None) is None


def test_a_night_started_by_hand_after_the_moment_counts_for_it_and_one_before_it_does_not() -> None:
    early = hand_started_night("t", utc("2026-11-22T01:00"), BERLIN, "ann")
    late = hand_started_night("t", utc("2026-11-22T13:00"), BERLIN, "ann")
    assert early.id == "t/2026-11-22T02:00:00.000"
    assert due(utc("2026-11-22T14:00"), BERLIN, [early], LONG_AGO) is not None
    assert due(utc("2026-11-22T14:00"), BERLIN, [late], LONG_AGO) is None
    assert due(utc("2026-11-23T02:00"), BERLIN, [late], LONG_AGO) is not None


@pytest.mark.parametrize("place", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@given(
    at=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_the_last_moment_has_come_and_the_next_has_not(
    place: str, at: datetime, hour: int, minute: int
) -> None:
    settings = NightSettings(at=f"{hour:02}:{minute:02}", timezone=place)
    last, following = last_moment(at, settings), next_moment(at, settings)
    assert last.at <= at < following.at
    assert (following.date - last.date).days == 1
