"""The promotions of a rollout, taken by the workers and by people: begin, move on, go back.

Invariant: each is a compare-and-set on what was looked at, with its evidence, and deletes nothing; what an
automatic rollback took out is put back by a person alone. Knows nothing of why a step is earned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from distill.rollout.trial import rollback_from_service, trial_of, was_rolled_back
from evals.promotion import is_kept_on_strong
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.records import ACTOR, Artifact, Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import Rollback, author_of, rollback_of
from stepdown.settings import Settings
from stepdown.students import STUDENT

ROUTER = "router"

log = logging.getLogger(__name__)


def begin(
    ledger: Ledger, settings: Settings, task: str, student: str, router: str, evidence: Mapping[str, Any]
) -> bool:
    """Put a candidate into the shadow of a task's traffic; beginning again what has begun changes nothing.

    Args:
        ledger: Where it is promoted.
        settings: All settings.
        task: Name of the task.
        student: Artifact id of the candidate.
        router: Artifact id of the router fitted on its outcomes.
        evidence: Why it may be tried: the gate's numbers.

    Returns:
        Whether it is on trial now; where it is not, `why_not_begin` says why.

    Raises:
        ArtifactError: The student or the router is missing or corrupt.
    """
    history = Registry(ledger).history(task)
    if (trial := trial_of(history)) is not None and (trial.student, trial.router) == (student, router):
        return True
    if (why_not := why_not_begin(ledger, settings, task, student, router)) is not None:
        log.warning("task %s: student %s is not tried: %s", task, student[:12], why_not)
        return False
    to = _deployed(history)._replace(candidate=student, candidate_router=router, candidate_share=0.0)
    reason = f"student {student[:12]} passed the gate: in the shadow of live traffic"
    return _promote(ledger, task, history, to, ACTOR, reason, evidence)


def why_not_begin(ledger: Ledger, settings: Settings, task: str, student: str, router: str) -> str | None:
    """Why a candidate is not put on trial without a person, or None.

    Raises:
        ArtifactError: The student or the router is missing or corrupt.
    """
    declared, history = settings.tasks[task], Registry(ledger).history(task)
    newest = history[-1] if history else None
    if declared.small is None or declared.student is None:
        return f"task {task!r} has no small model, or distils no students"
    if newest is not None and newest.candidate is not None:
        return f"student {newest.candidate[:12]} is on trial"
    if newest is not None and newest.student == student:
        return "it is in service"
    if is_kept_on_strong(history):
        return f"{author_of(history)} put the task on strong, and only a person takes it off"
    if was_rolled_back(history, student):
        return "it was rolled back; `stepdown promote --student` tries it again"
    found = router_of(ledger, task, student, router)
    student_of(ledger, task, student)
    if found.summary.get("certificate", {}).get("coverage") == 0:
        return f"its router certifies nothing: {found.summary['certificate'].get('reason')}"
    return None


def student_of(ledger: Ledger, task: str, student: str) -> Artifact:
    """A student of a task.

    Raises:
        ArtifactError: It is missing or corrupt.
        StepdownError: It is no student of the task.
    """
    found = Registry(ledger).artifact(student)
    if (found.kind, found.task) != (STUDENT, task):
        raise StepdownError(
            f"artifact {student!r} is a {found.kind} of task {found.task!r}, no student of {task!r}"
        )
    return found


def router_of(ledger: Ledger, task: str, student: str, router: str) -> Artifact:
    """A router that was fitted on the outcomes of a student.

    Raises:
        ArtifactError: It is missing or corrupt.
        StepdownError: It is no router, or was fitted on another model's outcomes.
    """
    found = Registry(ledger).artifact(router)
    if (found.kind, found.task, found.settings.get("student")) != (ROUTER, task, student):
        raise StepdownError(
            f"artifact {router!r} is no router of task {task!r} for student {student!r}; "
            f"one is fitted on the student's own answers"
        )
    return found


def move_on(
    ledger: Ledger,
    task: str,
    history: Sequence[Promotion],
    share: float | None,
    reason: str,
    evidence: Mapping[str, Any],
) -> bool:
    """Give the candidate on trial a larger share, or with None all: it goes live.

    Returns:
        False where somebody else promoted since `history` was read.
    """
    newest = history[-1].deployed
    if share is None:
        to = _live(newest, newest.candidate, newest.candidate_router)
    else:
        to = newest._replace(candidate_share=share)
    return _promote(ledger, task, history, to, ACTOR, reason, evidence)


def roll_back(
    ledger: Ledger,
    task: str,
    reason: str,
    evidence: Mapping[str, Any],
    actor: str = ACTOR,
    *,
    history: Sequence[Promotion] | None = None,
) -> bool:
    """Take out the candidate on trial, or else the student in service with all that came with it.

    Args:
        ledger: Where it is promoted.
        task: Name of the task.
        reason: Why, for the record.
        evidence: The numbers.
        actor: Who does it.
        history: The task's promotions that the evidence is about; None reads them now.

    Returns:
        False where there was nothing to roll back, or somebody else promoted meanwhile.
    """
    known = Registry(ledger).history(task) if history is None else history
    on_trial = bool(known) and known[-1].candidate is not None
    found = rollback_of(known) if on_trial else rollback_from_service(known)
    return _take_back(ledger, task, known, found, actor, reason, evidence)


def take_out(
    ledger: Ledger, task: str, history: Sequence[Promotion], reason: str, evidence: Mapping[str, Any]
) -> bool:
    """Take out the student in service, and a candidate that is on trial beside it."""
    found = rollback_from_service(history)
    return _take_back(ledger, task, history, found, ACTOR, reason, evidence)


def by_hand(
    ledger: Ledger,
    task: str,
    student: str,
    *,
    router: str | None,
    share: float | None,
    actor: str,
    reason: str,
    after: int | None = None,
) -> Promotion:
    """The step that a person makes: into the shadow, to a share, or live; past any rule but sense.

    Args:
        ledger: Where it is promoted.
        task: Name of the task.
        student: Artifact id of the student.
        router: Artifact id of its router; None takes the trial's, or the newest fitted for it.
        share: Of the traffic that it is to decide; 0 is shadow, and None is live.
        actor: Who.
        reason: Why, for the record.
        after: Number of the promotion that the person was shown; None is whichever is newest.

    Raises:
        StepdownError: The student or the router is none, another student is on trial, or somebody else
            promoted meanwhile.
    """
    registry, history = Registry(ledger), Registry(ledger).history(task)
    to = planned_by_hand(ledger, task, history, student, router=router, share=share)
    if to == _deployed(history):
        raise StepdownError(f"task {task!r} is there already")
    shown = after is None or after == (history[-1].sequence if history else 0)
    if not shown or not _promote(ledger, task, history, to, actor, reason, {}):
        raise StepdownError(f"task {task!r} was promoted by somebody else meanwhile; look, and try again")
    promoted = registry.current(task)
    assert promoted is not None
    return promoted


def planned_by_hand(
    ledger: Ledger,
    task: str,
    history: Sequence[Promotion],
    student: str,
    *,
    router: str | None,
    share: float | None,
) -> Deployed:
    """What `by_hand` would put in force.

    Raises:
        StepdownError: As `by_hand`.
    """
    student_of(ledger, task, student)
    trial = trial_of(history)
    if trial is not None and trial.student != student:
        raise StepdownError(
            f"student {trial.student!r} is on trial on task {task!r}; "
            f"`stepdown rollback --task {task}` ends that"
        )
    fitted = router or (trial.router if trial else None)
    if fitted is None:
        newest = Registry(ledger).newest(ROUTER, task, student=student)
        fitted = newest.id if newest else None
    if fitted is not None:
        router_of(ledger, task, student, fitted)
    elif share != 0:
        raise StepdownError(
            f"no router is fitted on the answers of student {student!r}, so none can say what it may answer"
        )
    now = _deployed(history)
    if share is None:
        return _live(now, student, fitted)
    return now._replace(candidate=student, candidate_router=fitted, candidate_share=share)


def _live(now: Deployed, student: str | None, router: str | None) -> Deployed:
    """A student in service with its router, under the bound in force."""
    return now.settled._replace(mode=Mode.ROUTE, artifact=router, student=student)


def _deployed(history: Sequence[Promotion]) -> Deployed:
    return history[-1].deployed if history else Deployed()


def _take_back(
    ledger: Ledger,
    task: str,
    history: Sequence[Promotion],
    found: Rollback | None,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> bool:
    if found is None:
        return False
    to = found.to
    if actor == ACTOR:  # an alarm takes back a student, and not the bound that a person set meanwhile
        to = to._replace(max_quality_loss=_deployed(history).max_quality_loss)
    return _promote(ledger, task, history, to, actor, reason, {**evidence, **found.evidence})


def _promote(
    ledger: Ledger,
    task: str,
    history: Sequence[Promotion],
    to: Deployed,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> bool:
    return Registry(ledger).promote(
        task,
        to,
        actor=actor,
        reason=reason,
        evidence=dict(evidence),
        after=history[-1].sequence if history else 0,
    )
