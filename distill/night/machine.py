"""The night as a machine: given what has happened in it, what comes next.

Invariant: a stage that has ended is never begun again, and whatever came of the others the report is made.
Pure: it knows nothing of ledgers and of what a stage does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stepdown.records import NightEvent

STARTED, ENDED = "started", "ended"
ASLEEP, AWAKE = "asleep", "awake"
MOST_TRIES = 3


class Stage(enum.StrEnum):
    """The stages of a night, in their order."""

    LABEL = "label"
    SLICES = "slices"
    DATASET = "dataset"
    TRAIN = "train"
    EXPORT = "export"
    EVALUATE = "evaluate"
    PRACTICE = "practice"
    GATE = "gate"
    RELABEL = "relabel"
    FIT = "fit"
    BOUND = "bound"
    CANARY = "canary"
    REPORT = "report"


class Outcome(enum.StrEnum):
    """How a stage ended: `stopped` is by its budget, or by evidence that does not allow to go on."""

    DONE = "done"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    FAILED = "failed"


# What comes after these does without them; what comes after any other needs it done.
OPTIONAL = frozenset({Stage.LABEL, Stage.SLICES, Stage.PRACTICE})
# What the next night takes up where it broke off.
TAKEN_UP = (Stage.TRAIN, Stage.EXPORT, Stage.EVALUATE, Stage.GATE, Stage.RELABEL, Stage.FIT)


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a stage.

    Attributes:
        reason: In words, for the reader.
        found: What later stages and the report need, as JSON values.
    """

    outcome: Outcome
    reason: str = ""
    found: Mapping[str, Any] | None = None


class Begin(NamedTuple):
    """A stage is to be begun, for the first time or again."""

    stage: Stage
    attempt: int


class End(NamedTuple):
    """A stage is to be ended without being begun."""

    stage: Stage
    ending: Ending


def next_step(events: Iterable[NightEvent]) -> Begin | End | None:
    """What a night does next; None where it is over."""
    seen = list(events)
    for stage in Stage:
        if ending_of(seen, stage) is None:
            return _step(seen, stage)
    return None


def _step(events: Sequence[NightEvent], stage: Stage) -> Begin | End:
    obstacle = _obstacle(events, stage)
    if obstacle is not None:
        return End(stage, Ending(Outcome.SKIPPED, f"{obstacle.stage} {_word(obstacle)}"))
    tries = attempts(events, stage)
    if tries >= MOST_TRIES:
        reason = (
            f"it was broken off {tries} times and is not tried again; look at the log of the worker, and "
            "whether memory ran out"
        )
        return End(stage, Ending(Outcome.FAILED, reason))
    return Begin(stage, tries + 1)


def _obstacle(events: Sequence[NightEvent], stage: Stage) -> NightEvent | None:
    """The first stage before this one that was needed and not done."""
    if stage is Stage.REPORT:
        return None
    for before in list(Stage)[: list(Stage).index(stage)]:
        ended = ending_of(events, before)
        if before not in OPTIONAL and ended is not None and ended.outcome != Outcome.DONE:
            return ended
    return None


def _word(ended: NightEvent) -> str:
    if ended.outcome == Outcome.FAILED:
        return "failed"
    by_the_gate = ended.stage == Stage.GATE and ended.outcome == Outcome.STOPPED
    return "was not passed" if by_the_gate else f"was {ended.outcome}"


def ending_of(events: Iterable[NightEvent], stage: str) -> NightEvent | None:
    """The event that ended a stage, or None."""
    return next((e for e in events if e.stage == stage and e.event == ENDED), None)


def is_over(events: Iterable[NightEvent]) -> bool:
    """Whether nothing is left of a night."""
    return ending_of(events, Stage.REPORT) is not None


def attempts(events: Iterable[NightEvent], stage: str) -> int:
    """How often a stage was begun."""
    return times(events, stage, STARTED)


def times(events: Iterable[NightEvent], stage: str, name: str) -> int:
    """How often something happened in a stage."""
    return max((_number(e, name) for e in events if e.stage == stage), default=0)


def first_start(events: Iterable[NightEvent], stage: str) -> NightEvent | None:
    """The event by which a stage was begun for the first time, or None."""
    return next((e for e in events if e.stage == stage and e.event == STARTED), None)


def numbered(event: str, number: int) -> str:
    """The name of something that happens for the n-th time in a stage: `started`, `started 2`, …."""
    return event if number == 1 else f"{event} {number}"


def _number(event: NightEvent, name: str) -> int:
    """Which `started`, say, an event is; 0 where it is something else."""
    if event.event == name:
        return 1
    word, _, number = event.event.rpartition(" ")
    return int(number) if word == name and number.isdigit() else 0


def asleep(events: Iterable[NightEvent]) -> list[str]:
    """The stages for which a small model was put to sleep and has not been woken."""
    seen = list(events)
    return [stage for stage in Stage if times(seen, stage, ASLEEP) > times(seen, stage, AWAKE)]


def found(events: Iterable[NightEvent], stage: str) -> Mapping[str, Any]:
    """What a stage found; empty where it has not ended."""
    ended = ending_of(events, stage)
    return ended.found if ended is not None else {}


def left_over(events: Iterable[NightEvent]) -> str | None:
    """The dataset of a night that broke off between it and the trial, for the next to take up.

    A verdict of the gate against every candidate ends it, and so does a bound that allows nothing; a verdict
    for one whose router was not fitted yet does not: by then there may be more prompts for it.
    """
    seen = list(events)
    dataset: str | None = found(seen, Stage.DATASET).get("dataset")
    broken = [stage for stage in TAKEN_UP if _is_broken(seen, stage)]
    refused = _is_broken(seen, Stage.GATE) and bool(found(seen, Stage.GATE).get("gates"))
    return dataset if broken and not refused else None


def _is_broken(events: Sequence[NightEvent], stage: Stage) -> bool:
    ended = ending_of(events, stage)
    return ended is not None and ended.outcome in (Outcome.FAILED, Outcome.STOPPED)
