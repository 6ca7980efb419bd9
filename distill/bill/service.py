"""When students were in service or on trial, by the promotions of their task. Pure.

Invariant: what a promotion puts in force lasts until the next one, whatever it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from stepdown.records import Promotion


class Period(NamedTuple):
    """A stretch of time, its end left out."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Its length; a clock that was set back makes none negative."""
        return max(0.0, (self.end - self.start).total_seconds())

    def has(self, at: datetime) -> bool:
        """Whether a time is in it."""
        return self.start <= at < self.end

    def until(self, at: datetime) -> float:
        """Seconds of it that lie before a time."""
        return Period(self.start, min(self.end, at)).seconds


def in_service(history: Sequence[Promotion], student: str, at: datetime) -> tuple[Period, ...]:
    """The periods in which a student was the small model, joined where one follows on another.

    Args:
        history: All promotions of the task, oldest first.
        student: Its artifact id.
        at: The present, at which the last period ends.
    """
    periods: list[Period] = []
    ends = [promotion.at for promotion in history[1:]] + [at]
    for promotion, end in zip(history, ends, strict=False):  # a task that was never promoted has only the end
        if promotion.student != student:
            continue
        if periods and periods[-1].end == promotion.at:
            periods[-1] = Period(periods[-1].start, end)
        else:
            periods.append(Period(promotion.at, end))
    return tuple(periods)


def predecessor(history: Sequence[Promotion], student: str) -> str | None:
    """The student that was in service when this one was first tried, or put in service; None is none."""
    before: str | None = None
    for promotion in history:
        if promotion.candidate == student:
            return promotion.student
        if promotion.student == student:
            return before
        before = promotion.student
    return None


def share_at(history: Sequence[Promotion], candidate: str, at: datetime) -> float | None:
    """The share of traffic that a candidate decided at a time; None where it was on no canary."""
    in_force = None
    for promotion in history:
        if promotion.at > at:
            break
        in_force = promotion
    if in_force is None or in_force.candidate != candidate or not 0 < in_force.candidate_share < 1:
        return None
    return in_force.candidate_share
