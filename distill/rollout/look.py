"""One look at a task's rollout: what is going on, and the step that it calls for.

Invariant: everything is derived from the ledger, so a look that is killed, or done twice, changes nothing;
a step is a promotion that carries the numbers it rests on. The rules are in `distill.rollout.decide`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from distill.rollout.decide import Action, Assessment, Observed, Rules, assess, assess_service
from distill.rollout.evidence import observe_service, observe_trial
from distill.rollout.keep import keep_progress
from distill.rollout.steps import move_on, roll_back, take_out
from distill.rollout.trial import Service, Trial, service_of, trial_of
from evals.promotion import AUTO
from stepdown.bound_in_force import with_bound
from stepdown.errors import ArtifactError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Promotion
from stepdown.registry import Registry
from stepdown.settings import Settings, StudentSettings, TaskSettings

log = logging.getLogger(__name__)


def look(ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None) -> str | None:
    """Look at the candidate on trial and the student in service, and make the step that is called for.

    What was found is kept, for those who only show it.

    Args:
        ledger: Where everything is.
        settings: All settings.
        task: Name of the task.
        at: The present; None asks the clock.

    Returns:
        What was done, in words; None where nothing was.

    Raises:
        LedgerError: The ledger refused.
    """
    for rollout in rollouts(ledger, settings, task, at=at):
        keep_progress(ledger, task, rollout)
        done = _step(ledger, task, rollout)
        if done is not None:
            log.info("task %s: %s", task, done)
            return done
    return None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A trial or a service, and what its evidence calls for.

    Attributes:
        history: The task's promotions when the evidence was read.
    """

    watched: Trial | Service
    assessment: Assessment
    rules: Rules
    history: Sequence[Promotion]


def rollouts(
    ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None
) -> Iterator[Rollout]:
    """What is on trial and in service in a task, each assessed as it is asked for; a trial comes first.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    declared = settings.tasks.get(task)
    if declared is None:
        return
    history, present = Registry(ledger).history(task), at or now()
    deployed = history[-1].deployed if history else Deployed()
    rules = rules_of(with_bound(declared, deployed))
    if (trial := trial_of(history)) is not None:
        yield Rollout(trial, _assessed(ledger, settings, task, trial, rules, present), rules, history)
    if (service := service_of(history)) is not None:
        since = service.watched_from(present, rules.lasts)
        served = observe_service(ledger, settings, task, service, since)
        yield Rollout(service, assess_service(served, rules), rules, history)


def _assessed(
    ledger: Ledger, settings: Settings, task: str, trial: Trial, rules: Rules, present: datetime
) -> Assessment:
    try:
        seen = observe_trial(ledger, settings, task, trial)
    except ArtifactError as error:  # the proxies cannot load its router either
        return Assessment(action=Action.ROLL_BACK, reason=str(error), watches=(), observed=Observed())
    return assess(trial, seen, rules, present)


def rules_of(declared: TaskSettings) -> Rules:
    """The rules that a task's settings give; where it makes no more students, those of the defaults.

    What is on trial or in service then is watched all the same.
    """
    student = declared.student or StudentSettings(base="-")
    return Rules(
        alpha=round(1 - declared.confidence, 12),
        max_quality_loss=declared.max_quality_loss,
        shadow_calls=student.shadow_calls,
        shares=tuple(sorted(student.canary_shares)),
        margin=student.canary_margin,
        lasts=timedelta(days=student.canary_days),
        error_rate=student.error_rate,
        latency_ratio=student.latency_ratio,
        by_hand=declared.promotion != AUTO,
    )


def _step(ledger: Ledger, task: str, rollout: Rollout) -> str | None:
    """Make the step that is called for; None where none is, or somebody else promoted meanwhile."""
    assessment, history = rollout.assessment, rollout.history
    watched, action = rollout.watched, assessment.action
    if action is Action.STAY:
        return None
    numbers = _numbers(rollout)
    if isinstance(watched, Service):
        reason = f"student {watched.student[:12]} in service is rolled back: {assessment.reason}"
        return reason if take_out(ledger, task, history, reason, numbers) else None
    name = f"student {watched.student[:12]}"
    if action is Action.ROLL_BACK:
        reason = f"{name} is rolled back from {stage_of(watched)}: {assessment.reason}"
        return reason if roll_back(ledger, task, reason, numbers, history=history) else None
    share = assessment.share or None
    reason = (
        f"{name} goes {'live' if share is None else f'to {share:.0%} of the traffic'}: {assessment.reason}"
    )
    return reason if move_on(ledger, task, history, share, reason, numbers) else None


def _numbers(rollout: Rollout) -> dict[str, Any]:
    watched = rollout.watched
    if isinstance(watched, Service):
        return {"stage": "live", "student": watched.student, **rollout.assessment.numbers()}
    named = {"stage": stage_of(watched), "share": watched.share, "student": watched.student}
    return {**named, **rollout.assessment.numbers()}


def stage_of(trial: Trial) -> str:
    """Where a candidate is, in a word."""
    return f"canary of {trial.share:.0%}" if trial.share else "shadow"
