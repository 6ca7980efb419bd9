"""A night put together from its events, for its report and for whoever asks how far it is.

Invariant: it is made of the night's events alone, so the same events give the same account. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from distill.night.machine import (
    OPTIONAL,
    STARTED,
    Outcome,
    Stage,
    attempts,
    ending_of,
    first_start,
    is_over,
    numbered,
)
from stepdown.records import Night, NightEvent

SECONDS = "seconds"
SPENT = "spent_usd_micros"
OF_THE_REPORT = frozenset({Stage.REPORT})


class State(enum.StrEnum):
    """How far a stage is that has not ended."""

    WAITING = "waiting"
    BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class StageAccount:
    """What came of a stage.

    Attributes:
        state: Its outcome, or how far it is.
        seconds: How long it took when it was last begun; None where it has not ended.
        attempts: How often it was begun.
    """

    stage: str
    state: str
    reason: str
    began_at: datetime | None
    seconds: float | None
    attempts: int
    found: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NightAccount:
    """A night as it is told.

    Attributes:
        conclusion: What came of it, in words.
        cost_usd_micros: What the ledger's total for the task grew by until the report; None before it.
    """

    id: str
    task: str
    date: str
    began_at: datetime
    actor: str
    over: bool
    conclusion: str
    cost_usd_micros: int | None
    stages: tuple[StageAccount, ...]


def account_of(night: Night, events: Sequence[NightEvent]) -> NightAccount:
    """The account of a night."""
    return NightAccount(
        id=night.id,
        task=night.task,
        date=night.date,
        began_at=night.at,
        actor=night.actor,
        over=is_over(events),
        conclusion=conclusion(events),
        cost_usd_micros=_cost(events),
        stages=tuple(_stage(events, stage) for stage in Stage),
    )


def conclusion(events: Sequence[NightEvent]) -> str:
    """What came of a night, in one line."""
    needed = [e for s in Stage if s not in OPTIONAL | OF_THE_REPORT and (e := ending_of(events, s))]
    if (stood := next((e for e in needed if e.outcome != Outcome.DONE), None)) is not None:
        return f"{stood.stage} {stood.outcome}: {stood.reason}"
    if (begun := ending_of(events, Stage.CANARY)) is not None:
        return begun.reason
    return "it is under way"


def _cost(events: Sequence[NightEvent]) -> int | None:
    first, last = first_start(events, Stage.LABEL), first_start(events, Stage.REPORT)
    if first is None or last is None or SPENT not in first.found or SPENT not in last.found:
        return None
    return int(last.found[SPENT]) - int(first.found[SPENT])


def _stage(events: Sequence[NightEvent], stage: Stage) -> StageAccount:
    ended, tries = ending_of(events, stage), attempts(events, stage)
    newest = next((e for e in events if e.stage == stage and e.event == numbered(STARTED, tries)), None)
    found = dict(ended.found) if ended else {}
    seconds = found.pop(SECONDS, None)
    return StageAccount(
        stage=str(stage),
        state=ended.outcome if ended else str(State.BEGUN if tries else State.WAITING),
        reason=ended.reason if ended else "",
        began_at=newest.at if newest else None,
        seconds=seconds,
        attempts=tries,
        found=found,
    )
