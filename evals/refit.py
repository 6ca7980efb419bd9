"""Fits a task's router when there are labels enough, keeps it, and puts it in force where that is allowed.

Invariant: each of the steps is found in the ledger when it has been done, so that a fit killed at any
point is taken up where it was left. The module does not know how a router is fitted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from sqlalchemy import select

from evals.judge.sweep import first_unjudged
from evals.labelling import first_unlabelled
from evals.order_bias import order_lines
from evals.outcomes import JUDGED, Outcomes, certifiable, read_outcomes, training_examples
from evals.promotion import (
    CERTIFIABLE,
    CHOICES,
    JUDGED_BY,
    Promise,
    Step,
    look_after,
    next_step,
    promise_kept,
    promise_of,
    share_of,
    why_not_fit,
)
from router.fitting.bound import most_regrets, prompts_needed
from router.fitting.fit import CALIBRATION_SHARE, Example, fit_router
from router.fitting.grid import grid_with, to_values
from stepdown import __version__
from stepdown.bound_in_force import bounded, with_bound
from stepdown.errors import ArtifactError, NotEnoughEvidence
from stepdown.ids import digest, now
from stepdown.ledger import Ledger, schema
from stepdown.records import ACTOR, Artifact, Deployed
from stepdown.registry import Registry
from stepdown.settings import TaskSettings

ROUTER = "router"
SEED = 0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refit:
    """What one look at a task did.

    Attributes:
        router: Id of the router that was fitted, or None.
        why_not: Why none was fitted, or None.
        step: The promotion that was made, or None.
    """

    router: str | None
    why_not: str | None
    step: Step | None

    def __str__(self) -> str:
        """What was done, in words."""
        fitted = f"router {self.router} fitted" if self.router else f"no router fitted: {self.why_not}"
        promoted = f"; promoted to {self.step.mode}: {self.step.reason}" if self.step else ""
        return fitted + promoted


def refit(ledger: Ledger, task_name: str, task: TaskSettings) -> Refit:
    """Fit a router if it is time to, and promote what the evidence calls for.

    While a candidate is on trial nothing new is promoted, or the trial would compare with something else
    than it began with; only a certificate that is no longer given takes effect, and ends the trial.

    Args:
        ledger: Where everything is.
        task_name: Name of the task.
        task: Its settings; the bound is the one in force, where a person set another.

    Raises:
        LedgerError: The ledger refused.
    """
    registry = Registry(ledger)
    deployed = registry.deployed(task_name)
    declared, task, student = task, with_bound(task, deployed), deployed.student
    seen = _look(ledger, task_name, task, student)
    newest = _newest(registry, task_name, student)
    why_not = why_not_fit(task, seen.pairs, newest, seen.may_certify)
    router = None
    if why_not is None:
        router, why_not = _fit(ledger, seen, _examples(ledger, seen, task), task_name, task, student)
    else:
        why_not = "; ".join([why_not, *order_lines(seen.outcomes.by_order)])
    step = _promote(registry, task_name, declared, bool(seen.outcomes.calls["trusted"].any()))
    return Refit(router.id if router else None, why_not, step)


def fit_for(ledger: Ledger, task_name: str, task: TaskSettings, student: str) -> Artifact:
    """Fit a router on the outcomes of one student, whether it is in service or not; promote nothing.

    Returns:
        The router; the one that was fitted on the same labels for the same bound, where there is one.

    Raises:
        NotEnoughEvidence: Too few prompts are labelled for both models.
        LedgerError: The ledger refused.
    """
    registry = Registry(ledger)
    task = bounded(registry, task_name, task)
    seen = _look(ledger, task_name, task, student)
    newest = _newest(registry, task_name, student)
    examples = _examples(ledger, seen, task)
    made_of = (_name_of(examples),)
    if newest is not None and newest.parents == made_of and promise_kept(newest) == promise_of(task):
        return newest
    router, why_not = _fit(ledger, seen, examples, task_name, task, student)
    if router is None:
        raise NotEnoughEvidence(why_not or "no router was fitted")
    return router


@dataclass(frozen=True, slots=True)
class _Look:
    """What a router can be fitted on.

    Attributes:
        whole: The labelled pairs of requests all of whose labels are there.
        pairs: Distinct prompts among them; `may_certify` are those that a bound may rest on.
    """

    outcomes: Outcomes
    whole: pd.DataFrame
    pairs: int
    may_certify: int


def _look(ledger: Ledger, task_name: str, task: TaskSettings, student: str | None) -> _Look:
    until = _first_waiting(ledger, task_name, task)  # before the read: a label may come meanwhile
    outcomes = read_outcomes(ledger, task_name, audit_share=task.audit_share, student=student)
    # What came after the first call that waits for its label is labelled in part, and a part may be tilted.
    pairs = outcomes.labelled_pairs
    whole = pairs if until is None else pairs[pairs["at"] < until].reset_index(drop=True)
    may_certify = whole.loc[certifiable(whole, task.certify_on), "prompt_hash"]
    return _Look(outcomes, whole, int(whole["prompt_hash"].nunique()), int(may_certify.nunique()))


def _examples(ledger: Ledger, seen: _Look, task: TaskSettings) -> list[Example]:
    return training_examples(ledger, seen.whole, certify_on=task.certify_on)


def _fit(
    ledger: Ledger,
    seen: _Look,
    examples: Sequence[Example],
    task_name: str,
    task: TaskSettings,
    student: str | None,
) -> tuple[Artifact | None, str | None]:
    wanted, look = promise_of(task), look_after(_looks(ledger, task_name))
    try:
        fitted = fit_router(
            examples,
            epsilon=wanted.epsilon,
            delta=share_of(wanted.delta, look),
            seed=SEED,
            min_labels=task.min_labels,
            grid=grid_with(wanted.epsilon, share_of(wanted.delta, look + 1)),
        )
    except NotEnoughEvidence as error:
        return None, str(error)
    judges = _judges(seen.outcomes, seen.whole, task)
    router = Registry(ledger).keep(
        ROUTER,
        task_name,
        fitted.model.to_bytes(),
        parents=(_name_of(examples),),
        settings={
            **fitted.settings,
            "delta": wanted.delta,
            "look": look,
            "pairs": seen.pairs,
            CERTIFIABLE: seen.may_certify,
            "certify_on": task.certify_on,
            "code_version": __version__,
            **({"student": student} if student else {}),
        },
        summary={
            **fitted.summary(),
            CHOICES: [to_values(choice) for choice in fitted.choices],
            **({JUDGED_BY: list(judges)} if judges else {}),
        },
    )
    return router, None


def prompts_to_certify(ledger: Ledger, task_name: str, task: TaskSettings) -> int:
    """Prompts that must be labelled for the next fit to certify anything, though one held out is a regret.

    Raises:
        LedgerError: The ledger refused.
    """
    wanted = promise_of(bounded(Registry(ledger), task_name, task))
    delta = next_delta(ledger, task_name, wanted)
    n = prompts_needed(wanted.epsilon, delta)
    while most_regrets(n, wanted.epsilon, delta) < 1:
        n += 1
    return math.ceil(n / CALIBRATION_SHARE)


def next_delta(ledger: Ledger, task_name: str, wanted: Promise) -> float:
    """The part of the promise's delta that the next fit is certified with.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return share_of(wanted.delta, look_after(_looks(ledger, task_name)))


def _looks(ledger: Ledger, task_name: str) -> list[int]:
    """The looks that the task's routers were certified with, whichever small model's they are."""
    table = schema.artifacts
    rows = ledger.rows(select(table.c.settings).where((table.c.kind == ROUTER) & (table.c.task == task_name)))
    return [int(row.settings.get("look", 0)) for row in rows]


def _first_waiting(ledger: Ledger, task_name: str, task: TaskSettings) -> datetime | None:
    """When the first request came that waits for a label on which a bound may rest; None where none does.

    A trusted verdict never depends on a judge, so a judge that is away holds up no bound but one on its word.
    """
    waiting = [first_unlabelled(ledger, task_name, task)]
    if task.certify_on == JUDGED:
        waiting.append(first_unjudged(ledger, task_name, task))
    return min((at for at in waiting if at is not None), default=None)


def _judges(outcomes: Outcomes, whole: pd.DataFrame, task: TaskSettings) -> tuple[str, ...]:
    """Whose word the bound rests on, where it rests on more than trusted labels."""
    if task.certify_on != JUDGED or certifiable(whole, "trusted").all():
        return ()
    return outcomes.judges


def _newest(registry: Registry, task_name: str, student: str | None) -> Artifact | None:
    """The newest router for a student; a corrupt one counts as none, so that another is fitted."""
    try:
        return registry.newest(ROUTER, task_name, student=student)
    except ArtifactError as error:
        log.warning("task %s: %s", task_name, error)
        return None


def _name_of(examples: Sequence[Example]) -> str:
    """A hash that names the labelled prompts that a router was fitted on."""
    lines = sorted(
        f"{e.group} {e.strong_good:g} {e.small_good:g}{'' if e.certifiable else ' judged'}" for e in examples
    )
    return digest("\n".join(lines).encode("utf-8", "surrogatepass"))


def _promote(registry: Registry, task_name: str, task: TaskSettings, labelled: bool) -> Step | None:
    history = registry.history(task_name)
    deployed = history[-1].deployed if history else Deployed()
    newest = _newest(registry, task_name, deployed.student)
    # A person may have set another bound while the router was being fitted.
    step = next_step(with_bound(task, deployed), history, newest, now(), labelled=labelled)
    if step is None:
        return None
    promoted = registry.promote(
        task_name,
        deployed.settled._replace(mode=step.mode, artifact=step.artifact),
        actor=ACTOR,
        reason=step.reason,
        evidence=step.evidence,
        after=history[-1].sequence if history else 0,
    )
    return step if promoted else None  # somebody else was first, and the next look sees what they did
