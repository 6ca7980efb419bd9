"""Counts of a task's traffic for the overview, from the hours that the workers keep.

Invariant: reads `request_hours` and `call_hours`, and of `requests` at most the entries of one minute; the
database adds the hours up to buckets, so what is read does not grow with the traffic. What came in the last
seconds may not be counted yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Table, Text, cast, func, literal_column, select, type_coerce

from dashboards.queries.period import DAY, Period, floor
from evals.rollups.buckets import added, quantile
from stepdown.ledger import Ledger, schema
from stepdown.ledger.schema import EPOCH, MICROSECOND
from stepdown.records import ANSWERING, HUNG_UP, Mode, Reason, Tier

MINUTE = timedelta(minutes=1)
MOST_COUNTED = 20_000  # requests of the last minute
MOST_TIMED_DAYS = 30


class Requests(NamedTuple):
    """How many requests had the same fate.

    Attributes:
        start: Of the bucket.
        mode: Empty where nothing was decided; likewise `reason`.
        answered: Tier whose answer was received; empty where none was.
        status: HTTP status.
    """

    start: datetime
    mode: str
    reason: str
    answered: str
    status: int
    requests: int


class Calls(NamedTuple):
    """Calls of one model in one role; `cost_usd_micros` is of those whose cost is known."""

    start: datetime
    model: str
    tier: str
    role: str
    calls: int
    failed: int
    unpriced: int
    cost_usd_micros: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came in a period, in buckets."""

    requests: tuple[Requests, ...]
    calls: tuple[Calls, ...]

    @property
    def total(self) -> int:
        """All requests."""
        return sum(row.requests for row in self.requests)

    @property
    def failed(self) -> int:
        """Requests that were answered with an error of ours or of a model."""
        return sum(row.requests for row in self.requests if row.status >= 500)

    @property
    def left(self) -> int:
        """Requests whose client hung up first."""
        return sum(row.requests for row in self.requests if row.status == HUNG_UP)

    @property
    def routed(self) -> int:
        """Answered requests on which a router could decide: in mode route, no model named."""
        return sum(row.requests for row in self.requests if _is_routed(row))

    @property
    def routed_small(self) -> int:
        """Those of them that small answered."""
        return sum(row.requests for row in self.requests if _is_routed(row) and row.answered == Tier.SMALL)

    @property
    def coverage(self) -> float | None:
        """Their share; None of none. Every request is counted, so it has no interval."""
        return self.routed_small / self.routed if self.routed else None

    @property
    def known_cost(self) -> int:
        """What the calls cost whose cost is known, in micro-dollars."""
        return sum(row.cost_usd_micros for row in self.calls)

    @property
    def unpriced(self) -> int:
        """Answered calls whose cost is not known."""
        return sum(row.unpriced for row in self.calls)

    def reasons(self) -> list[tuple[str, int]]:
        """Requests by the reason of their decision, the most frequent first."""
        counts: Counter[str] = Counter()
        for row in self.requests:
            counts[row.reason] += row.requests
        return counts.most_common()


def _is_routed(row: Requests) -> bool:
    return row.mode == Mode.ROUTE and row.reason != Reason.NAMED and bool(row.answered)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model answered clients: quantiles of all its answered calls, in milliseconds.

    Attributes:
        calls: Answered calls.
        ttft_calls: Those of them whose first token was timed.
    """

    model: str
    tier: str
    calls: int
    p50_ms: float
    p95_ms: float
    ttft_calls: int
    ttft_p50_ms: float
    ttft_p95_ms: float


@dataclass(frozen=True, slots=True)
class Live:
    """How busy a task is.

    Attributes:
        minute: Requests that came in the last minute; at most `MOST_COUNTED`.
        today: Requests of this day of UTC, as far as they are counted.
        small_today: Those of them that small answered.
        newest: When the newest request came; None where none has.
    """

    minute: int
    today: int
    small_today: int
    newest: datetime | None


def first_hour(ledger: Ledger, task: str) -> datetime | None:
    """The first hour in which requests of a task came; None where none is counted."""
    table = schema.request_hours
    found: datetime | None = ledger.rows(select(func.min(table.c.hour)).where(table.c.task == task))[0][0]
    return found


def read_traffic(ledger: Ledger, task: str, period: Period) -> Traffic:
    """What came in a period.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests, calls = schema.request_hours.c, schema.call_hours.c
    of_requests = (requests.mode, requests.reason, requests.answered, requests.status)
    of_calls = (calls.model, calls.tier, calls.role)
    sums = (calls.calls, calls.failed, calls.unpriced, calls.cost_usd_micros)
    return Traffic(
        tuple(
            Requests(*row)
            for row in _summed(ledger, schema.request_hours, task, period, of_requests, (requests.requests,))
        ),
        tuple(Calls(*row) for row in _summed(ledger, schema.call_hours, task, period, of_calls, sums)),
    )


def _summed(
    ledger: Ledger,
    table: Table,
    task: str,
    period: Period,
    names: tuple[ColumnElement[Any], ...],
    counts: tuple[ColumnElement[Any], ...],
) -> Iterable[tuple[Any, ...]]:
    width: Any = literal_column(str(period.width // MICROSECOND), BigInteger)
    bucket = (type_coerce(table.c.hour, BigInteger) // width).label("bucket")
    query = (
        select(bucket, *names, *(func.sum(count) for count in counts))
        .where(table.c.task == task, table.c.hour >= period.since, table.c.hour < period.until)
        .group_by(bucket, *names)
        .order_by(bucket, *names)
    )
    for row in map(tuple, ledger.rows(query)):
        words, sums = row[1 : 1 + len(names)], row[1 + len(names) :]
        yield (EPOCH + int(row[0]) * period.width, *words, *map(int, sums))


def read_speeds(ledger: Ledger, task: str, period: Period) -> tuple[list[Speed], datetime]:
    """How fast each model answered clients, and since when: at most the last `MOST_TIMED_DAYS`.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    since = max(period.since, floor(period.until, DAY) - timedelta(days=MOST_TIMED_DAYS))
    table = schema.call_hours
    wanted = (table.c.task == task) & (table.c.hour >= since) & (table.c.hour < period.until)
    times = (cast(table.c.latency, Text), cast(table.c.ttft, Text))
    query = select(table.c.model, table.c.tier, *times).where(wanted, table.c.role.in_(ANSWERING))
    gathered: dict[tuple[str, str], tuple[list[list[int]], list[list[int]]]] = {}
    for row in ledger.rows(query):
        model, tier, latency, ttft = map(str, row)
        both = gathered.setdefault((model, tier), ([], []))
        both[0].append(_counts(latency))
        both[1].append(_counts(ttft))
    speeds = [_speed(*name, *map(added, both)) for name, both in sorted(gathered.items())]
    return [speed for speed in speeds if speed.calls], since


_decoder = msgspec.json.Decoder(list[int])


def _counts(text: str) -> list[int]:
    return _decoder.decode(text)


def _speed(model: str, tier: str, latency: list[int], ttft: list[int]) -> Speed:
    quantiles = [quantile(counts, share) for counts in (latency, ttft) for share in (0.5, 0.95)]
    p50, p95, first_p50, first_p95 = quantiles
    return Speed(model, tier, sum(latency), p50, p95, sum(ttft), first_p50, first_p95)


def read_live(ledger: Ledger, task: str, at: datetime) -> Live:
    """How busy a task is now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    table, hours = schema.requests.c, schema.request_hours.c
    of_minute = (
        select(table.at).where(table.task == task, table.at >= at - MINUTE).limit(MOST_COUNTED).subquery()
    )
    minute = ledger.rows(select(func.count()).select_from(of_minute))[0][0]
    newest = ledger.rows(select(func.max(table.at)).where(table.task == task))[0][0]
    today = (
        select(hours.answered, func.sum(hours.requests).label("requests"))
        .where(hours.task == task, hours.hour >= floor(at, DAY))
        .group_by(hours.answered)
    )
    by_tier = {row.answered: int(row.requests) for row in ledger.rows(today)}
    return Live(minute, sum(by_tier.values()), by_tier.get(Tier.SMALL.value, 0), newest)
