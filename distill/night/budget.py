"""What a stage of the night may cost, in time and money.

Invariant: time is measured by the monotonic clock, so a clock that is set moves no deadline; money is what
the ledger's total for the task has grown by since the stage was first begun, so a stage that is taken up
again does not get its money twice. Pure but for the clock: it is told what was spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distill.night.machine import Stage
from stepdown.errors import OutOfBudget, SettingsError
from stepdown.settings import StudentSettings

CLOCK: Callable[[], float] = time.monotonic
ALL = "all"
USD = 1_000_000
DEFAULT_MINUTES: Mapping[Stage, float] = {
    Stage.LABEL: 60,
    Stage.SLICES: 30,
    Stage.DATASET: 30,
    Stage.TRAIN: 240,
    Stage.EXPORT: 60,
    Stage.EVALUATE: 120,
    Stage.PRACTICE: 60,
    Stage.GATE: 30,
    Stage.RELABEL: 90,
    Stage.FIT: 30,
    Stage.BOUND: 10,
    Stage.CANARY: 10,
    Stage.REPORT: 10,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a stage that has begun.

    Attributes:
        minutes: Its time.
        usd: Its money; None is as much as it takes.
        deadline: When its time is up, by the monotonic clock.
        spent: What it has cost so far, in micro-dollars.
    """

    stage: Stage
    minutes: float
    usd: float | None
    deadline: float
    spent: Callable[[], int]

    def check(self) -> None:
        """Nothing, while there is time and money.

        Raises:
            OutOfBudget: There is no more of one of them.
        """
        if CLOCK() >= self.deadline:
            raise OutOfBudget(
                f"its {self.minutes:g} minutes are up; `stage_minutes.{self.stage}` is its time"
            )
        if self.usd is not None and (spent := self.spent()) >= self.usd * USD:
            raise OutOfBudget(
                f"it has cost ${spent / USD:,.2f} of the ${self.usd:,.2f} that `stage_usd` allows it"
            )

    def until(self, seconds: float) -> float:
        """The deadline of a piece of the work that takes at most so many seconds."""
        return min(self.deadline, CLOCK() + seconds)

    def rented(self, usd_per_hour: float) -> float:
        """The deadline of work whose hours cost: when the time or the money is up."""
        if self.usd is None or usd_per_hour == 0:
            return self.deadline
        return self.until(max(0.0, self.usd - self.spent() / USD) / usd_per_hour * 3600)


def budget_of(stage: Stage, settings: StudentSettings, spent: Callable[[], int]) -> Budget:
    """The budget of a stage that begins now.

    Args:
        stage: Which.
        settings: Of the task's students.
        spent: What the stage has cost so far, in micro-dollars, whenever it is asked.
    """
    minutes = minutes_of(stage, settings)
    usd = settings.stage_usd.get(stage, settings.stage_usd.get(ALL))
    return Budget(stage, minutes, usd, CLOCK() + 60 * minutes, spent)


def minutes_of(stage: Stage, settings: StudentSettings) -> float:
    """How long a stage may take."""
    return settings.stage_minutes.get(stage, settings.stage_minutes.get(ALL, DEFAULT_MINUTES[stage]))


def check_names(task: str, settings: StudentSettings) -> None:
    """Nothing, where every budget is a stage's.

    Raises:
        SettingsError: A budget is for a stage that there is not.
    """
    known = {*map(str, Stage), ALL}
    for field, named in (("stage_minutes", settings.stage_minutes), ("stage_usd", settings.stage_usd)):
        for name in named:
            if name not in known:
                raise SettingsError(
                    f"tasks.{task}.student.{field}.{name} is the budget of no stage; there are: "
                    f"{', '.join([*map(str, Stage), ALL])}"
                )
