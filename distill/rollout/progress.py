"""How far a rollout is, for those who watch it: the command line and the dashboard.

Invariant: it says what the next look will see, from the same evidence and by the same rules, and changes
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from distill.rollout.decide import ArmCount
from distill.rollout.look import Rollout, rollouts
from distill.rollout.trial import Service, Trial
from distill.rollout.watches import Watch, e_value
from evals.metrics.intervals import Estimate
from stepdown.ledger import Ledger
from stepdown.settings import Settings

Stage = Literal["shadow", "canary", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmProgress:
    """An arm of a canary.

    Attributes:
        counts: Of its requests.
        units: Labelled conversations and requests that belong to none.
        quality: Their mean quality; None of none.
    """

    counts: ArmCount
    units: int
    quality: float | None

    def __str__(self) -> str:
        """The arm in words."""
        seen = self.counts
        good = "-" if self.quality is None else f"{self.quality:.1%}"
        return (
            f"{seen.requests:,} requests, {seen.labelled:,} labelled, {seen.unanswered:,} unanswered; "
            f"quality {good} of {self.units:,} units"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """How far a student is.

    Attributes:
        student: Artifact id.
        router: Of a candidate; None of a student in service.
        since: When the stage began.
        share: Of the traffic that it decides.
        next: What the next step is, in words; empty where there is none.
        arms: By arm, in a canary.
        difference: Quality of canary less control with its confidence sequence, in a canary.
        e_value: Against a loss of more than the margin; None outside a canary.
        e_needed: What the next step needs; None likewise.
        shadow_labelled: Labelled shadow calls, and
        shadow_needed: how many the first share needs.
        watches: What would roll it back.
        waiting: Requests that wait for a label.
        reason: What the next look will do or wait for, in words.
    """

    stage: Stage
    student: str
    router: str | None
    since: datetime
    share: float
    next: str
    arms: dict[str, ArmProgress]
    difference: Estimate | None
    e_value: float | None
    e_needed: float | None
    shadow_labelled: int
    shadow_needed: int
    watches: tuple[Watch, ...]
    waiting: int
    reason: str

    @property
    def alarms(self) -> tuple[Watch, ...]:
        """The watches that go off."""
        return tuple(watch for watch in self.watches if watch.alarm)

    def __str__(self) -> str:
        """The progress in one line."""
        named = f"{self.stage} of {self.share:.0%}" if self.stage == "canary" else self.stage
        onwards = f" -> {self.next}" if self.next else ""
        late = f"; {self.waiting:,} requests wait for a label" if self.waiting else ""
        return f"{self.student[:12]} {named}{onwards}: {self.reason}{late}"

    def lines(self) -> list[str]:
        """All of it: the progress, each arm, each watch."""
        arms = [f"{name}: {arm}" for name, arm in self.arms.items()]
        return [str(self), *arms, *(f"{'ALARM ' if watch.alarm else ''}{watch}" for watch in self.watches)]


def progress(
    ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None
) -> RolloutProgress | None:
    """How far the candidate on trial is, or else how the student in service does; None of neither.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    found = next(rollouts(ledger, settings, task, at=at), None)
    return _progress(found) if found else None


def _progress(rollout: Rollout) -> RolloutProgress:
    watched, assessment = rollout.watched, rollout.assessment
    quality, seen = assessment.quality, assessment.observed
    trial = watched if isinstance(watched, Trial) else None
    return RolloutProgress(
        stage="live" if trial is None else "canary" if trial.share else "shadow",
        student=watched.student,
        router=trial.router if trial else None,
        since=watched.since if isinstance(watched, Service) else watched.stage_since,
        share=trial.share if trial else 1.0,
        next=_next(rollout),
        arms={
            name: _arm(count, *quality.rates.get(name, (math.nan, 0))) for name, count in seen.counts.items()
        }
        if quality
        else {},
        difference=quality.apart if quality else None,
        e_value=e_value(quality.log_growth) if quality else None,
        e_needed=math.exp(assessment.log_needed) if quality else None,
        shadow_labelled=seen.shadow_labelled,
        shadow_needed=rollout.rules.shadow_calls,
        watches=assessment.watches,
        waiting=seen.waiting,
        reason=assessment.reason,
    )


def _arm(counts: ArmCount, quality: float, units: int) -> ArmProgress:
    return ArmProgress(counts=counts, units=units, quality=None if math.isnan(quality) else quality)


def _next(rollout: Rollout) -> str:
    if isinstance(rollout.watched, Service):
        return ""
    share = rollout.rules.after(rollout.watched.share)
    return "live" if share is None else f"{share:.0%}"
