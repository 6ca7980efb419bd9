"""Fits a task's router when there are labels enough, keeps it, and puts it in force where that is allowed.

Invariant: each of the steps is found in the ledger when it has been done, so that a fit killed at any
point is taken up where it was left. The module does not know how a router is fitted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from evals.judge.sweep import first_unjudged
from evals.labelling import first_unlabelled
from evals.order_bias import order_lines
from evals.outcomes import JUDGED, Outcomes, certifiable, read_outcomes, training_examples
from evals.promotion import (
    ACTOR,
    CERTIFIABLE,
    JUDGED_BY,
    Step,
    next_step,
    promise_of,
    share_of,
    why_not_fit,
)
from router.fitting.fit import Example, fit_router
from stepdown import __version__
from stepdown.errors import ArtifactError, NotEnoughEvidence
from stepdown.ids import digest
from stepdown.ledger import Ledger
from stepdown.records import Artifact
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

    Raises:
        LedgerError: The ledger refused.
    """
    registry = Registry(ledger)
    until = _first_waiting(ledger, task_name, task)  # before the read: a label may come meanwhile
    outcomes = read_outcomes(ledger, task_name, audit_share=task.audit_share)
    router, why_not = _fit_if_due(ledger, registry, outcomes, until, task_name, task)
    step = _promote(registry, task_name, task, bool(outcomes.calls["trusted"].any()))
    return Refit(router.id if router else None, why_not, step)


def _fit_if_due(
    ledger: Ledger,
    registry: Registry,
    outcomes: Outcomes,
    until: datetime | None,
    task_name: str,
    task: TaskSettings,
) -> tuple[Artifact | None, str | None]:
    # What came after the first call that waits for its label is labelled in part, and a part may be tilted.
    pairs_so_far = outcomes.labelled_pairs
    whole = pairs_so_far if until is None else pairs_so_far[pairs_so_far["at"] < until].reset_index(drop=True)
    pairs = int(whole["prompt_hash"].nunique())
    may_certify = int(whole.loc[certifiable(whole, task.certify_on), "prompt_hash"].nunique())
    if why_not := why_not_fit(task, pairs, _newest(registry, task_name), may_certify):
        return None, "; ".join([why_not, *order_lines(outcomes.by_order)])
    examples = training_examples(ledger, whole, certify_on=task.certify_on)
    wanted, look = promise_of(task), registry.count(ROUTER, task_name) + 1
    try:
        fitted = fit_router(
            examples,
            epsilon=wanted.epsilon,
            delta=share_of(wanted.delta, look),
            seed=SEED,
            min_labels=task.min_labels,
        )
    except NotEnoughEvidence as error:
        return None, str(error)
    judges = _judges(outcomes, whole, task)
    router = registry.keep(
        ROUTER,
        task_name,
        fitted.model.to_bytes(),
        parents=(_name_of(examples),),
        settings={
            **fitted.settings,
            "delta": wanted.delta,
            "look": look,
            "pairs": pairs,
            CERTIFIABLE: may_certify,
            "certify_on": task.certify_on,
            "code_version": __version__,
        },
        summary={**fitted.summary(), **({JUDGED_BY: list(judges)} if judges else {})},
    )
    return router, None


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


def _newest(registry: Registry, task_name: str) -> Artifact | None:
    """The task's newest router; a corrupt one counts as none, so that another is fitted."""
    try:
        return registry.newest(ROUTER, task_name)
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
    current = registry.current(task_name)
    step = next_step(task, current, _newest(registry, task_name), labelled=labelled)
    if step is None:
        return None
    promoted = registry.promote(
        task_name,
        mode=step.mode,
        artifact=step.artifact,
        actor=ACTOR,
        reason=step.reason,
        evidence=step.evidence,
        after=current.sequence if current else 0,
    )
    return step if promoted else None  # somebody else was first, and the next look sees what they did
