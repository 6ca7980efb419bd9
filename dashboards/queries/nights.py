"""The nights of a task as the ledger has them.

Invariant: it reads nights and their events alone, no more of them than asked for, and changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select

from distill.night.account import NightAccount, account_of
from distill.night.book import Book
from distill.night.machine import Stage, found
from distill.night.report import KIND
from distill.night.status import NightStatus, status
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Night, NightEvent
from stepdown.registry import Registry
from stepdown.settings import Settings

A_PAGE = 30

_n, _e = schema.nights, schema.night_events


@dataclass(frozen=True, slots=True)
class ToldNight:
    """A night with its account.

    Attributes:
        ended_at: When its last stage ended, or the newest thing happened in it.
    """

    account: NightAccount
    ended_at: datetime

    @property
    def seconds(self) -> float:
        """From its beginning until then."""
        return max(0.0, (self.ended_at - self.account.began_at).total_seconds())


@dataclass(frozen=True, slots=True)
class OneNight:
    """A night in full.

    Attributes:
        report: Its account as it was kept, once it was over.
    """

    told: ToldNight
    events: Sequence[NightEvent]
    report: Artifact | None


def newest_nights(ledger: Ledger, task: str, before: str = "", most: int = A_PAGE) -> list[ToldNight]:
    """Nights, the newest first.

    Args:
        ledger: Where they are.
        task: Name of the task.
        before: Id of a night: those that began before it, and none where there is no such night; empty is
            from the newest on.
        most: How many at most.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    query = select(_n).where(_n.c.task == task).order_by(_n.c.at.desc(), _n.c.id.desc()).limit(most)
    if before:
        at = select(_n.c.at).where(_n.c.id == before, _n.c.task == task).scalar_subquery()
        query = query.where(or_(_n.c.at < at, and_(_n.c.at == at, _n.c.id < before)))
    nights = [Night(**row._mapping) for row in ledger.rows(query)]
    events = defaultdict(list)
    named = select(_e).where(_e.c.night.in_([night.id for night in nights])).order_by(_e.c.at)
    for row in ledger.rows(named):
        events[row.night].append(NightEvent(**row._mapping))
    return [_told(night, events[night.id]) for night in nights]


def night_status(ledger: Ledger, settings: Settings, task: str) -> NightStatus | None:
    """How far a task's nights are, and when the next one is due; None where it distils no students."""
    declared = settings.tasks.get(task)
    if declared is None or declared.student is None:
        return None
    return status(ledger, settings, task)


def read_night(ledger: Ledger, task: str, name: str) -> OneNight | None:
    """One night in full; None where there is none of that id.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rows = ledger.rows(select(_n).where((_n.c.id == name) & (_n.c.task == task)))
    if not rows:
        return None
    night = Night(**rows[0]._mapping)
    events = Book(ledger, task).events(night.id)
    return OneNight(_told(night, events), events, _report(ledger, events))


def _told(night: Night, events: Sequence[NightEvent]) -> ToldNight:
    return ToldNight(account_of(night, events), max((event.at for event in events), default=night.at))


def _report(ledger: Ledger, events: Sequence[NightEvent]) -> Artifact | None:
    """The artifact that its last stage kept."""
    named = found(events, Stage.REPORT).get("report")
    table = schema.artifacts
    there = named and ledger.rows(select(table.c.id).where((table.c.id == named) & (table.c.kind == KIND)))
    return Registry(ledger).artifact(str(named)) if there else None
