"""What is being watched, read off a task's promotions: a candidate on trial, a student in service.

Invariant: a trial is the unbroken run of newest promotions that name its candidate; whatever ends it, ends
it here too. Pure: promotions in, values out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from evals.promotion import SKEW
from stepdown.records import Promotion
from stepdown.rollback import ROLLBACK_OF, Rollback, rollback_of


@dataclass(frozen=True, slots=True)
class Step:
    """From when on a candidate decided which share of the traffic; 0 is shadow."""

    at: datetime
    share: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate on trial.

    Attributes:
        student: Artifact id of the candidate.
        router: The router fitted on its outcomes, or None.
        before: The student that is small's in the control arm; None is the model as declared.
        steps: The shares it had, in their order.
        sequence: Of the newest promotion.
    """

    student: str
    router: str | None
    before: str | None
    steps: tuple[Step, ...]
    sequence: int

    @property
    def began(self) -> datetime:
        """When it was put into the shadow."""
        return self.steps[0].at

    @property
    def share(self) -> float:
        """Of the traffic that it decides now."""
        return self.steps[-1].share

    @property
    def stage_since(self) -> datetime:
        """When the shadow began, or where it is over, the canary."""
        return next((step.at for step in self.steps if step.share), self.began) if self.share else self.began

    def step_at(self, at: datetime, settling: timedelta) -> int | None:
        """The place of the step in force at a time; None where it was just made, and proxies may differ."""
        place = bisect_right(self.steps, at, key=lambda step: step.at) - 1
        return place if place >= 0 and at >= self.steps[place].at + settling else None


def trial_of(history: Sequence[Promotion]) -> Trial | None:
    """The trial under way, or None; `history` is a task's, oldest first."""
    if not history or (candidate := history[-1].candidate) is None:
        return None
    run = list(takewhile(lambda promotion: promotion.candidate == candidate, reversed(history)))
    steps = tuple(Step(promotion.at, promotion.candidate_share) for promotion in reversed(run))
    newest = history[-1]
    return Trial(candidate, newest.candidate_router, newest.student, steps, newest.sequence)


@dataclass(frozen=True, slots=True)
class Service:
    """A student in service.

    Attributes:
        student: Its artifact id.
        before: The student that it took the place of; None is the model as declared.
        since: When it went live.
        sequence: Of the newest promotion.
    """

    student: str
    before: str | None
    since: datetime
    sequence: int

    def watched_from(self, at: datetime, every: timedelta) -> datetime:
        """From when on it is watched: its time in service is cut into pieces, each watched by itself.

        So a watch reads no more than a piece, and what was good for months does not outweigh a bad day. Where
        the clock was ahead when it went live, it is watched all the same.
        """
        if self.since - at > SKEW:
            return at - every
        pieces = max(0, (at - self.since) // every)
        return self.since + pieces * every


def service_of(history: Sequence[Promotion]) -> Service | None:
    """The student in service, or None; `history` is a task's, oldest first."""
    if not history or (student := history[-1].student) is None:
        return None
    run = list(takewhile(lambda promotion: promotion.student == student, reversed(history)))
    earlier = history[: len(history) - len(run)]
    before = earlier[-1].student if earlier else None
    return Service(student, before, run[-1].at, history[-1].sequence)


def was_rolled_back(history: Sequence[Promotion], student: str) -> bool:
    """Whether a student was ever taken out by a rollback, whether it had gone live or not."""
    by_sequence = {promotion.sequence: promotion for promotion in history}
    for rollback in history:
        gone = rollback.evidence.get(ROLLBACK_OF, ())
        taken = [by_sequence.get(one) for one in ([gone] if isinstance(gone, int) else gone)]
        named = {name for one in taken if one is not None for name in (one.candidate, one.student)}
        if student in named and student not in (rollback.student, rollback.candidate):
            return True
    return False


def rollback_from_service(history: Sequence[Promotion]) -> Rollback | None:
    """The rollback that ends with another student than the one in service, or None where there is none.

    A router that was fitted since the student went live goes with it, and so does a trial under way.
    """
    found, walked = rollback_of(history), list(history)
    if not history:
        return None
    taken: tuple[int, ...] = ()
    while found is not None:
        taken = tuple(sorted({*taken, *found.takes_back}))
        if found.to.student != history[-1].student:
            return Rollback(found.to, taken)
        walked.append(_imagined(walked[-1], found))
        found = rollback_of(walked)
    return None


def _imagined(newest: Promotion, rollback: Rollback) -> Promotion:
    """The promotion that a rollback would be."""
    return Promotion(
        task=newest.task,
        sequence=newest.sequence + 1,
        at=newest.at,
        **rollback.to._asdict(),
        actor=newest.actor,
        reason="",
        evidence=rollback.evidence,
    )
