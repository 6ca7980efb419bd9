"""Begins nights that are due and takes up those that were broken off.

Invariant: one night runs at a time, whoever looks and on whichever machine, and each of its stages ends once;
all that a night knows is in the ledger, so a process that is killed costs the work of a stage at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from distill.night import gpu
from distill.night.account import SECONDS, SPENT
from distill.night.admitting import PROMOTIONS
from distill.night.book import Book
from distill.night.budget import CLOCK, budget_of, check_names
from distill.night.machine import (
    ENDED,
    MOST_TRIES,
    STARTED,
    Begin,
    End,
    Ending,
    Stage,
    first_start,
    next_step,
    numbered,
)
from distill.night.making import DATASET, NEWEST_DATASET
from distill.night.parts import Parts, PartsFactory
from distill.night.report import told
from distill.night.schedule import due, hand_started_night, scheduled_night
from distill.night.stages import STAGES
from distill.night.tonight import Tonight, failed, stopped
from stepdown.errors import LedgerError, OutOfBudget, SettingsError, StepdownError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.records import ACTOR, Night
from stepdown.registry import Registry
from stepdown.settings import Settings

LOCK = "night"  # one for all tasks, which may share a GPU
LONGEST_WORDS = 1_000

log = logging.getLogger(__name__)

Say = Callable[[str], None]


def look(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    *,
    at: datetime | None = None,
    parts: PartsFactory = Parts,
    say: Say = lambda _: None,
) -> str | None:
    """Take up the night that was broken off, or begin the one that is due, and run it to its end.

    Args:
        ledger: Where nights are.
        settings: All settings.
        environ: Where the upstreams' keys are.
        task: Name of the task.
        at: The present; None asks the clock.
        parts: The other rooms.
        say: Is told of each stage as it begins and ends.

    Returns:
        What came of the night, in words; None where there was nothing to do, or another process does it.

    Raises:
        SettingsError: A budget is for a stage that there is not.
        LedgerError: The ledger refused; the next look goes on.
    """
    declared = settings.tasks.get(task)
    if declared is None or declared.student is None:
        return None
    check_names(task, declared.student)
    with alone(ledger, LOCK) as held:
        if not held:
            return None
        book, rooms = Book(ledger, task), parts(ledger, settings, environ, task)
        _wake_forgotten(book, settings, rooms)
        night = book.unfinished() or _due(book, settings, task, at or now())
        if night is None:
            return None
        return _Run(ledger, settings, night, book, rooms, say).to_its_end()


def start_now(ledger: Ledger, settings: Settings, task: str, actor: str) -> Night:
    """Write down a night that a person starts; the next look runs it.

    Raises:
        SettingsError: The task has no students to be made.
        StepdownError: A night of it is under way.
    """
    declared = settings.tasks.get(task)
    if declared is None or declared.student is None:
        raise SettingsError(
            f"task {task!r} distils no students; declare [tasks.{task}.student] with its base"
        )
    check_names(task, declared.student)
    book = Book(ledger, task)
    if (under_way := book.unfinished()) is not None:
        raise StepdownError(
            f"night {under_way.id} is under way; `stepdown night status --task {task}` shows how far it is"
        )
    return book.begin(hand_started_night(task, now(), settings.night, actor))


def under_way(ledger: Ledger, task: str) -> Night | None:
    """The oldest night of a task that is not over, or None."""
    return Book(ledger, task).unfinished()


def _due(book: Book, settings: Settings, task: str, at: datetime) -> Night | None:
    moment = due(at, settings.night, book.nights(), book.first_request())
    return book.begin(scheduled_night(task, moment, now(), ACTOR)) if moment else None


def _wake_forgotten(book: Book, settings: Settings, parts: Parts) -> None:
    """Wake what a night put to sleep, and did not wake before it was killed or when it tried."""
    for night in book.nights()[-2:]:
        step = next_step(book.events(night.id))
        again = (str(step.stage),) if isinstance(step, Begin) else ()
        for alias in gpu.wake_all(book, night, settings, parts, but=again):
            log.info("model %s was woken, which night %s had put to sleep", alias, night.id)


@dataclass(frozen=True, slots=True)
class _Run:
    """One night, run as far as it is not."""

    ledger: Ledger
    settings: Settings
    night: Night
    book: Book
    parts: Parts
    say: Say

    def to_its_end(self) -> str | None:
        """Run what is left of it."""
        while (step := next_step(self.book.events(self.night.id))) is not None:
            again = (str(step.stage),) if isinstance(step, Begin) else ()
            gpu.wake_all(self.book, self.night, self.settings, self.parts, but=again)
            if isinstance(step, End):
                self._end(step.stage, step.ending)
            elif not self._begin(step):
                return None  # another process was first, for all that the lock says
        return told(self.night, self.book.events(self.night.id))

    def _begin(self, step: Begin) -> bool:
        event = numbered(STARTED, step.attempt)
        if not self.book.note(self.night.id, step.stage, event, found=self._marks(step.stage)):
            return False
        again = f", for the {step.attempt}. time" if step.attempt > 1 else ""
        self.say(f"{step.stage}: begins{again}")
        began = CLOCK()
        ending = self._ending(self._tonight(step), step)
        taken = {**(ending.found or {}), SECONDS: round(CLOCK() - began, 3)}
        self._end(step.stage, replace(ending, found=taken))
        return True

    def _end(self, stage: Stage, ending: Ending) -> None:
        self.book.note(self.night.id, stage, ENDED, ending)
        self.say(f"{stage}: {ending.outcome}" + (f": {ending.reason}" if ending.reason else ""))

    def _marks(self, stage: Stage) -> dict[str, Any]:
        """What a stage that is begun again needs to know of its first beginning."""
        registry, task = Registry(self.ledger), self.night.task
        marks: dict[str, Any] = {SPENT: self.book.cost()}
        if stage is Stage.DATASET:
            newest = registry.newest(DATASET, task)
            marks[NEWEST_DATASET] = newest.id if newest else None
        if stage is Stage.CANARY:
            current = registry.current(task)
            marks[PROMOTIONS] = current.sequence if current else 0
        return marks

    def _tonight(self, step: Begin) -> Tonight:
        events = self.book.events(self.night.id)
        first = first_start(events, step.stage)
        marks = first.found if first else {}
        student = self.settings.tasks[self.night.task].student
        assert student is not None
        return Tonight(
            settings=self.settings,
            night=self.night,
            stage=step.stage,
            attempt=step.attempt,
            events=events,
            marks=marks,
            budget=budget_of(step.stage, student, lambda: self.book.cost() - int(marks.get(SPENT, 0))),
            book=self.book,
            registry=Registry(self.ledger),
            parts=self.parts,
            say=lambda words: self.say(f"{step.stage}: {words}"),
        )

    def _ending(self, tonight: Tonight, step: Begin) -> Ending:
        """Do the stage; whatever goes wrong in it ends it, and not the night."""
        name = f"night {self.night.id}, stage {step.stage}"
        try:
            return STAGES[step.stage](tonight)
        except OutOfBudget as error:
            return stopped(str(error))
        except LedgerError as error:
            if step.attempt < MOST_TRIES:
                raise  # it may be only for now, and an end could not be written either
            return failed(str(error))
        except StepdownError as error:
            log.warning("%s: %s", name, error)
            return failed(str(error))
        except Exception as error:  # a stage may meet anything, and the night is to say so
            log.exception("%s died of what nobody expected", name)
            return failed(f"{type(error).__name__}: {error}"[:LONGEST_WORDS])
