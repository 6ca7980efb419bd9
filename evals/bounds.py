"""A person sets a task's bound: what would change, and the promotion that changes it.

Invariant: what is put in force was certified when the router was fitted, for a loss that is no larger than
the one asked for; and it is a compare-and-set on the promotion that the person looked at. The module fits
nothing and looks at no label: another bound is also another fit, which `evals.refit` makes in its own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from evals.bound_diff import Proposal, Side
from evals.choices import CERTIFIED_ON, GRID, Offer, offer_of
from evals.frontier import Choice, Frontier, kept_frontier
from evals.promotion import CHOICES, promise_kept
from evals.refit import ROUTER
from evals.report.held_out import FITTED_AT
from router.fitting.bound import Certificate
from router.fitting.grid import to_values
from router.model import RouterModel
from stepdown.bound_in_force import with_bound
from stepdown.errors import SettingsError, StepdownError
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode, Promotion
from stepdown.registry import Registry, artifact_id
from stepdown.settings import Settings, TaskSettings


def propose(
    ledger: Ledger,
    settings: Settings,
    task_name: str,
    max_quality_loss: float,
    *,
    frontier: Frontier | None = None,
) -> Proposal:
    """What setting a bound would change. Nothing is changed.

    Args:
        ledger: Where everything is.
        settings: All settings.
        task_name: Name of the task.
        max_quality_loss: The bound, in (0, 1).
        frontier: Where the expected coverage, quality and saving are from; None takes what was kept last.

    Raises:
        StepdownError: The task is not declared, the bound is none or is in force already, or a student is on
            trial.
        ArtifactError: The router in force is missing or corrupt.
        LedgerError: The ledger cannot be read.
    """
    registry = Registry(ledger)
    current = registry.current(task_name)
    deployed = current.deployed if current else Deployed()
    declared = _declared(settings, task_name)
    task = with_bound(declared, deployed)
    _refuse(task_name, task, deployed, max_quality_loss)
    shown = frontier or kept_frontier(ledger, task_name)
    move = _move(registry, deployed, max_quality_loss)
    return Proposal(
        task=task_name,
        asked=max_quality_loss,
        after=current.sequence if current else 0,
        before=_side(deployed, task.max_quality_loss, move.threshold, move.offer, shown),
        to=_side(move.to, max_quality_loss, _threshold(move.certificate), move.offer, shown),
        confidence=1 - promise_kept(move.offer.fitted).delta if move.offer else task.confidence,
        together=move.offer.together if move.offer else None,
        certificate=to_values(move.certificate) if move.certificate else None,
        notes=(*move.notes, *_of_the_settings(task_name, declared, max_quality_loss)),
    )


def apply(
    ledger: Ledger,
    settings: Settings,
    task_name: str,
    proposed: Proposal | float,
    *,
    actor: str,
    reason: str,
    after: int,
) -> Promotion:
    """Set a bound, and put in force what is certified for it.

    Args:
        ledger: Where it is promoted.
        settings: All settings.
        task_name: Name of the task.
        proposed: The bound, or what was proposed for it.
        actor: Who.
        reason: Why, for the record.
        after: Sequence of the promotion that the person looked at; 0 is none.

    Raises:
        StepdownError: As of `propose`; or somebody promoted since, and nothing was changed.
        LedgerError: The ledger refused.
    """
    registry = Registry(ledger)
    current = registry.current(task_name)
    stale = isinstance(proposed, Proposal) and proposed.after != after
    if stale or after != (current.sequence if current else 0):
        raise _was_overtaken(task_name, after, current)
    loss = proposed.asked if isinstance(proposed, Proposal) else proposed
    found = propose(ledger, settings, task_name, loss)
    move = _move(registry, current.deployed if current else Deployed(), loss)
    if move.kept is not None:
        registry.keep(ROUTER, task_name, **move.kept)
    evidence = {"bound": msgspec.to_builtins(found)}
    if not registry.promote(task_name, move.to, actor=actor, reason=reason, evidence=evidence, after=after):
        raise _was_overtaken(task_name, after, registry.current(task_name))
    return next(one for one in registry.history(task_name) if one.sequence == after + 1)


@dataclass(frozen=True, slots=True)
class _Move:
    """What is to be put in force.

    Attributes:
        threshold: Of the router in force now.
        certificate: That of the router to be; None where nothing goes to small.
        offer: What the router in force offers; None where none is in force.
        kept: What the registry is to keep first; None where the router is there.
        notes: What a person should know of it.
    """

    to: Deployed
    threshold: float | None = None
    certificate: Certificate | None = None
    offer: Offer | None = None
    kept: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def _declared(settings: Settings, task_name: str) -> TaskSettings:
    if task_name not in settings.tasks:
        known = ", ".join(settings.tasks) or "none"
        raise SettingsError(f"task {task_name!r} is not declared; declared tasks: {known}")
    return settings.tasks[task_name]


def _refuse(task_name: str, task: TaskSettings, deployed: Deployed, loss: float) -> None:
    if not 0 < loss < 1:
        raise StepdownError(
            f"max_quality_loss = {loss!r} is no share of requests: give one above 0 and below 1, such as 0.02"
        )
    if loss == task.max_quality_loss:
        raise StepdownError(f"the bound of task {task_name!r} is {loss!r} already")
    if deployed.candidate is not None:
        raise StepdownError(
            f"student {deployed.candidate!r} is on trial on task {task_name!r} under the bound "
            f"{task.max_quality_loss:g}; wait for its end, or `stepdown rollback --task {task_name}` ends it"
        )


def _move(registry: Registry, deployed: Deployed, loss: float) -> _Move:
    bound = deployed._replace(max_quality_loss=loss)
    if deployed.mode is not Mode.ROUTE or deployed.artifact is None:
        why = f"no router is in force, so only the bound is set: the next fit is certified for {loss:g}"
        return _Move(bound, notes=(why,))
    router = registry.artifact(deployed.artifact)
    offer, threshold = offer_of(registry, router), RouterModel.from_bytes(router.content).threshold
    best = offer.best(loss)
    if best is None:
        why = (
            f"nothing is certified at {loss:g}, so the task goes to mode shadow at once, and strong answers "
            f"all requests until a fit certifies something: {offer.why_not(loss)}"
        )
        return _Move(bound._replace(mode=Mode.SHADOW, artifact=None), threshold, None, offer, notes=(why,))
    kept = None if best == offer.own else _router_with(offer, best)
    name = (
        offer.fitted.id
        if kept is None
        else artifact_id(ROUTER, router.task, kept["content"], **_made_of(kept))
    )
    return _Move(bound._replace(artifact=name), threshold, best, offer, kept, _of_the_step(offer, best, loss))


def _router_with(offer: Offer, chosen: Certificate) -> dict[str, Any]:
    """The fitted router with another of the thresholds that its fit certified, as the registry keeps it."""
    fitted = offer.fitted
    summary = {name: value for name, value in fitted.summary.items() if name != CHOICES}
    return {
        "content": RouterModel.from_bytes(fitted.content).with_threshold(chosen.threshold).to_bytes(),
        "parents": (fitted.id,),
        "settings": {
            **fitted.settings,
            "epsilon": chosen.epsilon,
            "look": int(fitted.settings.get("look", 0)) + 1,
            CERTIFIED_ON: GRID,
            FITTED_AT: fitted.at.isoformat(),
        },
        "summary": {**summary, "certificate": to_values(chosen)},
    }


def _made_of(kept: dict[str, Any]) -> dict[str, Any]:
    return {"parents": kept["parents"], "settings": kept["settings"]}


def _of_the_step(offer: Offer, best: Certificate, loss: float) -> tuple[str, ...]:
    if best.epsilon == loss:
        return ()
    taken = f"the threshold is the one that is certified for {best.epsilon:g}"
    if loss in {one.epsilon for one in offer.choices}:
        return (
            f"for {loss:g} itself no more is certified, and {taken}; the next fit is certified for {loss:g}",
        )
    return (f"{loss:g} was not tried in the fit, and {taken}; the next fit is certified for {loss:g}",)


def _of_the_settings(task_name: str, declared: TaskSettings, loss: float) -> tuple[str, ...]:
    said = f"tasks.{task_name}.max_quality_loss = {declared.max_quality_loss:g} in the settings"
    return () if loss == declared.max_quality_loss else (f"from now on {said} is not what is in force",)


def _threshold(certificate: Certificate | None) -> float | None:
    return certificate.threshold if certificate else None


def _side(
    deployed: Deployed, loss: float, threshold: float | None, offer: Offer | None, shown: Frontier | None
) -> Side:
    expected = _expected(threshold, offer, shown)
    return Side(
        mode=deployed.mode.value,
        router=deployed.artifact,
        threshold=threshold,
        max_quality_loss=loss,
        coverage=expected.coverage if expected else None,
        difference=expected.difference if expected else None,
        saving_a_month_usd_micros=expected.saving_a_month_usd_micros if expected else None,
    )


def _expected(threshold: float | None, offer: Offer | None, shown: Frontier | None) -> Choice | None:
    """What is expected at a threshold, where the frontier is of the same fit and shows it."""
    if offer is None or shown is None or shown.fitted != offer.fitted.id:
        return None
    every = (shown.operating, *shown.choices)
    return next((choice for choice in every if choice.threshold == threshold), None)


def _was_overtaken(task_name: str, after: int, current: Promotion | None) -> StepdownError:
    by = f" by {current.actor}: {current.reason}" if current and current.sequence > after else ""
    return StepdownError(
        f"task {task_name!r} is at promotion {current.sequence if current else 0}{by}, and what you saw was "
        f"promotion {after}; nothing was changed: look at what is in force now, and set the bound again"
    )
