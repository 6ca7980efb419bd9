"""Keeps what a look at a rollout found, for those who only show it: it takes a reading of the whole trial.

Invariant: what was kept says of whom it is and how old it is; nothing is decided by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from distill.rollout.trial import Service, Trial
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Promotion
from stepdown.summaries import Summaries

if TYPE_CHECKING:
    from distill.rollout.look import Rollout

TRIAL, SERVICE = "trial", "service"


class KeptEnds(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate; None is not a number."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class KeptArm(msgspec.Struct, frozen=True, kw_only=True):
    """An arm of a canary; see `distill.rollout.progress.ArmProgress`."""

    requests: int
    labelled: int
    unanswered: int
    waiting: int = 0
    unlabelled: int = 0
    hung_up: int = 0
    units: int = 0
    quality: float | None = None


class KeptWatch(msgspec.Struct, frozen=True, kw_only=True):
    """A watch; see `distill.rollout.watches.Watch`."""

    name: str
    n: int
    rate: float | None
    limit: float
    e_value: float
    alarm_at: float
    alarm: bool
    note: str = ""


class KeptProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a student was at a look.

    Attributes:
        at: When it was looked at.
        stage: `shadow`, `canary of 10%` or `live`.
        next: The next share, `live`, or empty where there is none.
        reason: What the next step waits for, in words.
    """

    student: str
    at: datetime | None = None
    stage: str = ""
    share: float = 0.0
    next: str = ""
    reason: str = ""
    arms: dict[str, KeptArm] = {}
    difference: KeptEnds | None = None
    e_value: float | None = None
    e_needed: float | None = None
    shadow_labelled: int = 0
    shadow_needed: int | None = None
    watches: tuple[KeptWatch, ...] = ()
    waiting: int = 0


def keep_progress(ledger: Ledger, task: str, found: Rollout) -> None:
    """Keep what a look found, of a trial and of a service each the newest.

    Raises:
        LedgerError: The ledger refused.
    """
    watched = found.watched
    name = TRIAL if isinstance(watched, Trial) else SERVICE
    values = {**found.assessment.numbers(), **_named(found), "at": now()}
    Summaries(ledger).keep(task, name, msgspec.json.encode(values))


def _named(found: Rollout) -> dict[str, Any]:
    watched, rules = found.watched, found.rules
    named = {"student": watched.student, "reason": found.assessment.reason}
    if isinstance(watched, Service):
        return {**named, "stage": "live", "share": 1.0}
    after = rules.after(watched.share)
    return {
        **named,
        "stage": f"canary of {watched.share:.0%}" if watched.share else "shadow",
        "share": watched.share,
        "next": "live" if after is None else f"{after:.0%}",
        "shadow_needed": rules.shadow_calls,
    }


def kept_progress(ledger: Ledger, task: str, name: str, student: str) -> KeptProgress | None:
    """What was found last of a student's trial or service; None where that was of another, or is not there.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    kept = Summaries(ledger).read(task, name, KeptProgress)
    return kept.document if kept and kept.document.student == student else None


def progress_in(promotion: Promotion, student: str) -> KeptProgress | None:
    """What a look had found when it made a step; None where the promotion holds no such numbers."""
    if "watches" not in promotion.evidence:
        return None
    values = {"student": student, "reason": promotion.reason, **promotion.evidence, "at": promotion.at}
    try:
        return msgspec.convert(values, KeptProgress)
    except msgspec.ValidationError:
        return None
