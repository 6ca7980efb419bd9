"""What somebody should look at: each alarm says what is wrong, since when or of how many, and where to look.

Invariant: what the workers found is shown as it was kept; beside it is only what they cannot say, that they
are silent, and what can be read at once. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select

from dashboards.queries.overview import Traffic, read_traffic
from dashboards.queries.period import DAY, HOUR, Period, floor
from evals.summary.alarms import silent_workers
from evals.summary.documents import Alarm as Found
from stepdown.ledger import Ledger, schema
from stepdown.records import ACTOR, Mode, Promotion, Reason
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF
from stepdown.settings import Settings

LOOKED_BACK = timedelta(hours=2)
LEAST = 20  # calls or requests of which a share is worth an alarm
MOST_FAILED = 0.05
NEWS = timedelta(days=3)
MODES = list(Mode)
WORKER = "worker"
PAGES = {"bound": "/promotions", "router": "/promotions", "server": "/students", "labels": "/labels"}


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something to look at.

    Attributes:
        said: What is wrong.
        path: Of the page that says more; empty where there is none.
        query: Of that page.
        is_bad: Whether it wants somebody now.
    """

    said: str
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    is_bad: bool = False


def read_alarms(
    ledger: Ledger, settings: Settings, task: str, kept: Iterable[Found], at: datetime
) -> list[Alarm]:
    """What is wrong with a task now, the urgent first.

    Args:
        ledger: Where it is seen.
        settings: Which parts there are.
        task: Name of the task.
        kept: What the workers found; of the workers themselves it is asked anew.
        at: The present.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    lately = Period("24h", floor(at - LOOKED_BACK, HOUR), at, DAY)
    seen = [*silent_workers(ledger, settings, at), *(one for one in kept if one.about != WORKER)]
    found = [
        *map(_found, seen),
        *_failing(read_traffic(ledger, task, lately)),
        *_stepped_back(ledger, task, at),
    ]
    return sorted(found, key=lambda alarm: not alarm.is_bad)


def _found(one: Found) -> Alarm:
    said = f"{one.text[:1].upper()}{one.text[1:]}"
    return Alarm(said.rstrip(".") + ".", PAGES.get(one.about, ""), is_bad=one.severity == "error")


def _failing(traffic: Traffic) -> Iterator[Alarm]:
    words = f"in the last {LOOKED_BACK // HOUR} hours"
    if _too_many(traffic.failed, traffic.total):
        yield Alarm(
            f"{traffic.failed:,} of {traffic.total:,} requests {words} got an error.",
            "/requests",
            {"status": "failed"},
            is_bad=True,
        )
    for model in sorted({row.model for row in traffic.calls}):
        of_model = [row for row in traffic.calls if row.model == model]
        calls, failed = sum(row.calls for row in of_model), sum(row.failed for row in of_model)
        if _too_many(failed, calls):
            yield Alarm(f"{failed:,} of {calls:,} calls of {model} {words} failed.", "/requests")
    fell_back = sum(row.requests for row in traffic.requests if row.reason == Reason.FALLBACK)
    if _too_many(fell_back, traffic.total):
        yield Alarm(
            f"{fell_back:,} of {traffic.total:,} requests {words} went to strong because small failed.",
            "/requests",
            {"reason": Reason.FALLBACK.value},
        )


def _too_many(failed: int, total: int) -> bool:
    return total >= LEAST and failed > MOST_FAILED * total


def _stepped_back(ledger: Ledger, task: str, at: datetime) -> Iterator[Alarm]:
    """Whether the task was taken back a step of late, and nobody has done anything since."""
    last = Registry(ledger).current(task)
    if last is None or at - last.at > NEWS or last.actor != ACTOR:
        return
    before = mode_before(ledger, last)
    if ROLLBACK_OF in last.evidence:
        said = f"Promotion {last.sequence} took a step back by itself: {last.reason}"
    elif MODES.index(last.mode) < MODES.index(before):
        said = f"The task went back from mode {before} to mode {last.mode} by itself: {last.reason}"
    else:
        return
    yield Alarm(said, f"/promotions/{last.sequence}", is_bad=True)


def mode_before(ledger: Ledger, promotion: Promotion) -> Mode:
    """The mode that a promotion put an end to."""
    table = schema.promotions.c
    of_one = (table.task == promotion.task) & (table.sequence == promotion.sequence - 1)
    found = ledger.rows(select(table.mode).where(of_one))
    return Mode(found[0].mode) if found else Mode.STRONG
