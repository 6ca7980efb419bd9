"""When a night begins: at a time of day, in a time zone, once for each date.

Invariant: no date has two scheduled nights. A clock that jumps back repeats none; one that jumps ahead causes
one night, and where that was by a week at most no other until it has been that date. A night that is dated
further ahead than that is a wrong clock's, and keeps no other from being begun. Pure: it is given the time
and the nights that there were.

A time of day that a date does not have, because clocks are put forward over it, is as long after the gap's
beginning as it would have been; of one that it has twice the first counts (PEP 495, fold 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from stepdown.records import Night
from stepdown.settings import NightSettings

DAY = timedelta(days=1)
AHEAD = timedelta(days=7)


class Moment(NamedTuple):
    """When the night of a date begins."""

    at: datetime
    date: date


def moment_of(day: date, settings: NightSettings) -> Moment:
    """When the night of a date begins, in UTC."""
    local = datetime.combine(day, time.fromisoformat(settings.at), ZoneInfo(settings.timezone))
    return Moment(local.astimezone(UTC), day)


def last_moment(at: datetime, settings: NightSettings) -> Moment:
    """The newest moment that has come."""
    days = (local_date(at, settings) + n * DAY for n in (1, 0, -1, -2))
    return next(moment for day in days if (moment := moment_of(day, settings)).at <= at)


def next_moment(at: datetime, settings: NightSettings, nights: Iterable[Night] = ()) -> Moment:
    """The first moment after `at` at which a night begins, given those that there were."""
    known = list(nights)
    day = last_moment(at, settings).date + DAY
    while any(is_scheduled(night) and _stands_for(night, moment_of(day, settings)) for night in known):
        day += DAY
    return moment_of(day, settings)


def due(
    at: datetime, settings: NightSettings, nights: Iterable[Night], first_request: datetime | None
) -> Moment | None:
    """The moment whose night is to be begun now, or None.

    It is the newest one that has come: of a week in which the machine was off one night is caught up. A
    moment before the task's first request is none, so a new install does not begin with a night; and a
    night that a person started after the moment counts for it.

    Args:
        at: The present.
        settings: When nights begin.
        nights: The task's nights.
        first_request: When the task's first request came; None where none has.
    """
    moment = last_moment(at, settings)
    if first_request is None or moment.at < first_request:
        return None
    return None if any(_stands_for(night, moment) for night in nights) else moment


def _stands_for(night: Night, moment: Moment) -> bool:
    if is_scheduled(night):
        return timedelta(0) <= date.fromisoformat(night.date) - moment.date <= AHEAD
    return timedelta(0) <= night.at - moment.at <= AHEAD


def local_date(at: datetime, settings: NightSettings) -> date:
    """The date, in the time zone of the settings."""
    return at.astimezone(ZoneInfo(settings.timezone)).date()


def scheduled_night(task: str, moment: Moment, at: datetime, actor: str) -> Night:
    """The night of a moment."""
    day = moment.date.isoformat()
    return Night(id=f"{task}/{day}", task=task, date=day, at=at, actor=actor)


def hand_started_night(task: str, at: datetime, settings: NightSettings, actor: str) -> Night:
    """A night that a person starts: its id has the time, to the millisecond."""
    local = at.astimezone(ZoneInfo(settings.timezone))
    name = f"{task}/{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03d}"
    return Night(id=name, task=task, date=local.date().isoformat(), at=at, actor=actor)


def is_scheduled(night: Night) -> bool:
    """Whether a night is one of the schedule."""
    return night.id == f"{night.task}/{night.date}"
