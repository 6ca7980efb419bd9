"""What a stage of a night is given: the night, what its stages found so far, its budget, and the other rooms.

Invariant: a stage knows of the stages before it only what they found, which is in the ledger; so it does the
same whether they ran in this process or in one that was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.night.book import Book
from distill.night.budget import Budget
from distill.night.machine import Ending, Outcome, Stage, found
from distill.night.parts import Parts
from stepdown.records import Artifact, Night, NightEvent
from stepdown.registry import Registry
from stepdown.settings import Settings, StudentSettings, TaskSettings


@dataclass(frozen=True, slots=True)
class Tonight:
    """A stage that has begun.

    Attributes:
        events: What happened in the night until the stage began.
        marks: What was noted when the stage was begun for the first time.
        say: Tells whoever looks on how far it is.
    """

    settings: Settings
    night: Night
    stage: Stage
    attempt: int
    events: tuple[NightEvent, ...]
    marks: Mapping[str, Any]
    budget: Budget
    book: Book
    registry: Registry
    parts: Parts
    say: Callable[[str], None] = field(default=lambda _: None)

    @property
    def task(self) -> TaskSettings:
        """The settings of the task."""
        return self.settings.tasks[self.night.task]

    @property
    def student(self) -> StudentSettings:
        """How its students are made."""
        student = self.task.student
        assert student is not None  # there is no night without
        return student

    def found(self, stage: Stage) -> Mapping[str, Any]:
        """What an earlier stage found."""
        return found(self.events, stage)

    def artifact(self, stage: Stage, name: str) -> Artifact:
        """An artifact that an earlier stage found.

        Raises:
            ArtifactError: It is missing or corrupt.
        """
        return self.registry.artifact(str(self.found(stage)[name]))


def done(reason: str, **found: Any) -> Ending:
    """The stage did what it is for."""
    return Ending(Outcome.DONE, reason, found)


def skipped(reason: str, **found: Any) -> Ending:
    """There was nothing to do."""
    return Ending(Outcome.SKIPPED, reason, found)


def stopped(reason: str, **found: Any) -> Ending:
    """The evidence does not allow to go on."""
    return Ending(Outcome.STOPPED, reason, found)


def failed(reason: str, **found: Any) -> Ending:
    """It could not be done."""
    return Ending(Outcome.FAILED, reason, found)
