"""Which students the registry wants on a model's servers, and since when the others are not wanted.

Invariant: what is in force, what is on trial, and what a rollback would put back is always wanted. Reads the
ledger and asks no server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import select

from distill.rollout.trial import rollback_from_service
from stepdown.ledger import Ledger, schema
from stepdown.records import Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import rollback_of
from stepdown.settings import Settings
from stepdown.students import STUDENT, served_name

MOST_OF_A_NIGHT = 8
LAST_STAGE, ENDED = "report", "ended"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a model's servers.

    Attributes:
        in_force: Students that traffic is answered by; None is the model as declared.
        on_trial: Candidates of promotions, each with the share of the traffic that it decides.
        put_back: What a rollback would put in force again.
        tonight: What unfinished nights have made so far, the newest first.
        left: When traffic last had reason to ask for a student, by served name.
    """

    in_force: tuple[str | None, ...] = ()
    on_trial: Mapping[str, float] = field(default_factory=dict)
    put_back: tuple[str, ...] = ()
    tonight: tuple[str, ...] = ()
    left: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def students(self) -> tuple[str, ...]:
        """All of them, the most important first."""
        named = (*self.in_force, *self.on_trial, *self.put_back, *self.tonight)
        return tuple(dict.fromkeys(student for student in named if student is not None))


class _Made(NamedTuple):
    student: str
    at: datetime


def wanted_of(ledger: Ledger, settings: Settings, alias: str) -> Wanted:
    """What is wanted of a model's servers.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    registry = Registry(ledger)
    tasks = [name for name, task in settings.tasks.items() if task.small == alias]
    in_force: list[str | None] = []
    on_trial: dict[str, float] = {}
    put_back: list[str | None] = []
    tonight: list[_Made] = []
    left: dict[str, datetime] = {}
    for task in tasks:
        history = registry.history(task)
        now = registry.deployed(task)
        if now.student is not None or now.mode is not Mode.STRONG:
            in_force.append(now.student)
        if now.candidate is not None:
            on_trial[now.candidate] = max(now.candidate_share, on_trial.get(now.candidate, 0.0))
        # A person goes back one promotion, an alarm past every router since the student went live.
        rollbacks = (rollback_of(history), rollback_from_service(history))
        put_back += [rollback.to.student for rollback in rollbacks if rollback is not None]
        made = _made(ledger, task)
        tonight += _of_tonight(ledger, task, made)
        _note_latest(left, _ends_of_nights(ledger, task, made))
        _note_latest(left, _ends_in(history))
    newest = sorted(tonight, key=lambda one: one.at, reverse=True)[:MOST_OF_A_NIGHT]
    return Wanted(
        tuple(dict.fromkeys(in_force)) or (None,),
        on_trial,
        _students(put_back),
        tuple(one.student for one in newest),
        left,
    )


def _students(named: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(student for student in named if student is not None))


def _made(ledger: Ledger, task: str) -> list[_Made]:
    table = schema.artifacts
    students = (table.c.kind == STUDENT) & (table.c.task == task)
    return [_Made(row.id, row.at) for row in ledger.rows(select(table.c.id, table.c.at).where(students))]


def _of_tonight(ledger: Ledger, task: str, made: list[_Made]) -> list[_Made]:
    """What was made since the first unfinished night of a task began, or before and is taken up by one."""
    nights, events = schema.nights, schema.night_events
    over = select(events.c.night).where((events.c.stage == LAST_STAGE) & (events.c.event == ENDED))
    unfinished = select(nights.c.id, nights.c.at).where((nights.c.task == task) & nights.c.id.not_in(over))
    begun = {row.id: row.at for row in ledger.rows(unfinished)}
    found = select(events.c.found).where(events.c.night.in_(list(begun)) & (events.c.event == ENDED))
    named = {student for row in ledger.rows(found) for student in _named_in(row.found)}
    return [one for one in made if one.student in named or (begun and one.at >= min(begun.values()))]


def _named_in(found: Mapping[str, Any]) -> list[str]:
    """The students that a stage of a night found."""
    return [*filter(None, [found.get("student")]), *(one["student"] for one in found.get("candidates", ()))]


def _ends_of_nights(ledger: Ledger, task: str, made: list[_Made]) -> list[tuple[str, datetime]]:
    """When each student was given up at the earliest: at the end of the night that made it."""
    nights, events = schema.nights, schema.night_events
    ends = select(events.c.at).where(
        (events.c.stage == LAST_STAGE)
        & (events.c.event == ENDED)
        & events.c.night.in_(select(nights.c.id).where(nights.c.task == task))
    )
    ended = sorted(row.at for row in ledger.rows(ends))
    return [(one.student, next((end for end in ended if end >= one.at), one.at)) for one in made]


def _ends_in(history: list[Promotion]) -> list[tuple[str, datetime]]:
    """When each student ceased to be in force or on trial, each time that it was."""
    return [
        (student, after.at)
        for before, after in pairwise(history)
        for student in (before.student, before.candidate)
        if student is not None
    ]


def _note_latest(left: dict[str, datetime], ends: list[tuple[str, datetime]]) -> None:
    for student, at in ends:
        name = served_name(student)
        left[name] = max(at, left.get(name, at))
