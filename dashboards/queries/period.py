"""The period that a page is about, cut into as many buckets as a chart can show.

Invariant: buckets begin at whole hours or days of UTC, and there are never more than `MOST_BUCKETS` and the
one that is under way. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stepdown.errors import BadRequest
from stepdown.ledger.schema import EPOCH

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOST_BUCKETS = 60
ALL = "all"
LENGTHS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
WORDS = {
    "24h": "the last 24 hours",
    "7d": "the last 7 days",
    "30d": "the last 30 days",
    ALL: "all time",
}
LONGEST = timedelta(days=366)  # that is read at once, of whatever there is
DEFAULT = "30d"


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, and in what steps.

    Attributes:
        name: `24h`, `7d`, `30d` or `all`.
        since: Begin of the first bucket.
        until: The present.
        width: Of a bucket.
    """

    name: str
    since: datetime
    until: datetime
    width: timedelta

    @property
    def words(self) -> str:
        """The period in words."""
        is_year = self.name == ALL and self.until - self.since > LONGEST - self.width
        return "the last year" if is_year else WORDS[self.name]

    @property
    def step(self) -> str:
        """The width of a bucket in words."""
        if self.width == HOUR:
            return "hour"
        days = self.width // DAY
        return "day" if days == 1 else f"{days} days"

    @property
    def whole(self) -> Period:
        """The same to the end of the bucket that is under way: it is the same for as long as that lasts."""
        return replace(self, until=floor(self.until, self.width) + self.width)

    @property
    def query(self) -> str:
        """Where it begins, as the query of a page has it."""
        return f"{self.since:%Y-%m-%dT%H:%M}"

    def bucket_of(self, at: datetime) -> datetime:
        """The begin of the bucket in which a time lies."""
        return floor(at, self.width)

    def buckets(self) -> Iterator[datetime]:
        """The begin of each bucket."""
        start = self.since
        while start < self.until:
            yield start
            start += self.width

    def shown(self, start: datetime) -> str:
        """A bucket as text."""
        return f"{start:%Y-%m-%d %H:%M}" if self.width < DAY else f"{start:%Y-%m-%d}"


def floor(at: datetime, width: timedelta) -> datetime:
    """The last multiple of a width since 1970 that is not after a time."""
    return EPOCH + (at - EPOCH) // width * width


def check_range(name: str) -> None:
    """Refuse what is no period.

    Raises:
        BadRequest: There is no such period.
    """
    if name not in WORDS:
        raise BadRequest(f"range = {name!r:.40} is none; there are {', '.join(WORDS)}", param="range")


def period_of(name: str, at: datetime, first: datetime | None) -> Period:
    """A period by its name, from the first request on: hours while there are few, then days.

    Args:
        name: `24h`, `7d`, `30d` or `all`.
        at: The present.
        first: When the first request came; None where none has.

    Raises:
        BadRequest: There is no such period.
    """
    check_range(name)
    start = min(first or at - LENGTHS[DEFAULT], at - HOUR)
    longest = LENGTHS.get(name, LONGEST)
    is_cut = start < at - longest
    start = at - longest if is_cut else start
    few = at - start <= MOST_BUCKETS * HOUR
    width = HOUR if few else DAY * max(1, math.ceil((at - start) / DAY / MOST_BUCKETS))
    # Where an older bucket is cut, it is left out: part of one would look like a quiet time.
    return Period(name, floor(start, width) + (width if is_cut else timedelta(0)), at, width)
