"""One hour of a task's traffic, counted from the ledger's rows.

Invariant: an hour holds the requests that came in it and all the calls that were ever made for them, so that
the hours of a task add up to its requests and calls. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, bindparam, select, type_coerce

from evals.rollups.buckets import BUCKETS, bucket_of, trimmed
from stepdown.ledger import Ledger, schema
from stepdown.records import ANSWERING

HOUR_MICROS = 3_600_000_000
ROWS_AT_ONCE = 5_000

_r, _d, _c = schema.requests.c, schema.decisions.c, schema.calls.c
CAME = type_coerce(_r.at, BigInteger)  # plain microseconds: no value is made for each row

RequestKey = tuple[str, str, str, int]  # mode, reason, answered, status
CallKey = tuple[str, str, str]  # model, tier, role


@dataclass(slots=True)
class CallCounts:
    """Calls of one model in one role; the fields of `call_hours`."""

    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd_micros: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    ttft: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def count(
        self,
        ok: bool,
        latency_ms: float,
        ttft_ms: float | None,
        prompt_tokens: int | None,
        completion_tokens: int | None,
        cost_usd_micros: int | None,
    ) -> None:
        """Count one call; only answered ones are timed, as a refusal is quick and a timeout is slow."""
        self.calls += 1
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0
        self.cost_usd_micros += cost_usd_micros or 0
        if not ok:
            self.failed += 1
            return
        self.unpriced += cost_usd_micros is None
        self.latency[bucket_of(latency_ms)] += 1
        if ttft_ms is not None:
            self.ttft[bucket_of(ttft_ms)] += 1


@dataclass(frozen=True, slots=True)
class Hour:
    """What was counted of one hour.

    Attributes:
        number: Hours since 1970.
        requests: Times of requests in buckets, by what became of them.
        calls: By model and role.
    """

    task: str
    number: int
    requests: dict[RequestKey, list[int]]
    calls: dict[CallKey, CallCounts]

    def request_rows(self) -> list[dict[str, Any]]:
        """The rows of `request_hours`, but for the hour."""
        return [
            {
                "task": self.task,
                "mode": mode,
                "reason": reason,
                "answered": answered,
                "status": status,
                "requests": sum(counts),
                "latency": trimmed(counts),
            }
            for (mode, reason, answered, status), counts in self.requests.items()
        ]

    def call_rows(self) -> list[dict[str, Any]]:
        """The rows of `call_hours`, but for the hour."""
        return [
            {
                "task": self.task,
                "model": model,
                "tier": tier,
                "role": role,
                **{name: getattr(counts, name) for name in COUNTS},
                "latency": trimmed(counts.latency),
                "ttft": trimmed(counts.ttft),
            }
            for (model, tier, role), counts in self.calls.items()
        ]


COUNTS = ("calls", "failed", "unpriced", "prompt_tokens", "completion_tokens", "cost_usd_micros")


def count_hour(ledger: Ledger, task: str, number: int) -> Hour:
    """Count an hour of a task.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    start = number * HOUR_MICROS
    of_hour = {"of_task": task, "start": start, "end": start + HOUR_MICROS}
    with ledger.reading() as connection:
        reading = connection.execution_options(yield_per=ROWS_AT_ONCE)  # an hour may be long
        answered, calls = _count_calls(reading.execute(CALLS, of_hour))
        requests = _count_requests(reading.execute(REQUESTS, of_hour), answered)
    return Hour(task, number, requests, calls)


def _count_calls(rows: Iterable[Any]) -> tuple[dict[str, str], dict[CallKey, CallCounts]]:
    """Which tier answered each request, and the counts."""
    answered: dict[str, str] = {}
    found: dict[CallKey, CallCounts] = {}
    for request, model, tier, role, status, *counted in rows:
        ok = 200 <= status < 300
        if ok and role in ANSWERING:
            answered[request] = tier  # the last one, as the rows are in the order of time
        key = (model, tier, role)
        counts = found.get(key)
        if counts is None:
            counts = found[key] = CallCounts()
        counts.count(ok, *counted)
    return answered, found


def _count_requests(rows: Iterable[Any], answered: Mapping[str, str]) -> dict[RequestKey, list[int]]:
    found: dict[RequestKey, list[int]] = {}
    for name, mode, reason, status, latency_ms in rows:
        key = (mode or "", reason or "", answered.get(name, ""), status)
        counts = found.get(key)
        if counts is None:
            counts = found[key] = [0] * BUCKETS
        counts[bucket_of(latency_ms)] += 1
    return found


IN_HOUR = (
    _r.task == bindparam("of_task"),
    bindparam("start", type_=BigInteger) <= CAME,
    bindparam("end", type_=BigInteger) > CAME,
)
REQUESTS = (
    select(_r.id, _d.mode, _d.reason, _r.status, _r.latency_ms)
    .select_from(schema.requests.outerjoin(schema.decisions, _d.request == _r.id))
    .where(*IN_HOUR)
)
CALLS = (
    select(
        _c.request,
        _c.model,
        _c.tier,
        _c.role,
        _c.status,
        _c.latency_ms,
        _c.ttft_ms,
        _c.prompt_tokens,
        _c.completion_tokens,
        _c.cost_usd_micros,
    )
    .select_from(schema.requests.join(schema.calls, _c.request == _r.id))
    .where(*IN_HOUR)
    .order_by(_c.at, _c.id)
)
