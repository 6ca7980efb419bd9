"""When to fit a router, and what a fitted one changes: the rules by which a task steps down, and up again.

Invariant: a task goes to the small model only on a certificate that allows it, and a new certificate
that allows nothing takes it back. Pure: it knows nothing of ledgers and fits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from stepdown.records import ACTOR, Artifact, Deployed, Mode, Promotion
from stepdown.rollback import author_of
from stepdown.settings import TaskSettings

AUTO = "auto"
GROWTH_PERCENT = 10
SKEW = timedelta(days=1)  # by which clocks of machines may differ, to be generous
CERTIFIABLE = "certifiable"
JUDGED_BY = "judged_by"
CHOICES = "choices"  # of a router's summary: the certificates that a person may choose among


@dataclass(frozen=True, slots=True)
class Step:
    """A promotion to be made: what is to be in force, why, and the numbers that justify it."""

    mode: Mode
    artifact: str | None
    reason: str
    evidence: Mapping[str, Any]


class Promise(NamedTuple):
    """Quality loss <= epsilon with confidence 1 - delta: another one calls for another fit.

    Attributes:
        certify_on: Whose labels it rests on: `trusted` or `judged`.
    """

    epsilon: float
    delta: float
    certify_on: str = "trusted"


def why_not_fit(
    task: TaskSettings, pairs: int, newest: Artifact | None, certifiable: int | None = None
) -> str | None:
    """Why no router is to be fitted now, or None where one is.

    Args:
        task: The task's settings.
        pairs: Distinct prompts with both answers labelled.
        newest: The task's newest router.
        certifiable: Those of them that a bound may rest on; None is all.
    """
    if task.small is None:
        return "no small model is configured"
    if pairs < task.min_labels:
        return f"{pairs} prompts are labelled for both models, min_labels is {task.min_labels}"
    if newest is None or promise_of(task) != promise_kept(newest):
        return None
    before = int(newest.settings.get("pairs", 0))
    trusted = int(newest.settings.get(CERTIFIABLE, before))
    if not _grown(pairs, before) and not _grown(pairs if certifiable is None else certifiable, trusted):
        return f"{pairs} prompts are labelled for both models, the newest router knew {before}"
    return None


def _grown(now: int, before: int) -> bool:
    return now > before and 100 * now >= (100 + GROWTH_PERCENT) * before


def promise_of(task: TaskSettings) -> Promise:
    """The bound that a task asks for; `stepdown.bound_in_force` puts what a person set into its settings."""
    return Promise(task.max_quality_loss, round(1 - task.confidence, 12), task.certify_on)


def share_of(delta: float, look: int) -> float:
    """The part of delta that a task's `look`-th look at its labels may spend; all parts add up to delta.

    Args:
        delta: Allowed probability, over all routers of the task, that a bound does not hold.
        look: 1, 2, 3, …; see `look_after`.
    """
    return delta / (look * (look + 1))


def look_after(looks: Iterable[int]) -> int:
    """The number of a task's next fit, which is odd; the number after it is for the grid that the fit offers.

    A grid is paid for whether anybody chooses from it or not: who sees what it offers and leaves it has
    looked.

    Args:
        looks: The numbers that were given so far, to fits and to what people chose.
    """
    last = max(looks, default=0)
    return last + 1 + last % 2


def next_step(
    task: TaskSettings,
    history: Sequence[Promotion],
    newest: Artifact | None,
    at: datetime,
    *,
    labelled: bool = False,
) -> Step | None:
    """The promotion that the evidence calls for, or None.

    A router counts once: one that is older than the promotion in force was there when that was made,
    and a person may have decided against it. While a candidate is on trial only a step back is called for.

    Args:
        task: The task's settings, under the bound in force; a router with a looser one is not put in force.
        history: The task's promotions, oldest first.
        newest: The task's newest router; its summary has the `certificate`.
        at: The present.
        labelled: Whether the task has trusted labels; without them, and without a check or a judge, shadow
            calls would be paid for and never be learnt from.
    """
    if task.promotion != AUTO or task.small is None or not (task.checks or task.judges or labelled):
        return None
    current = history[-1] if history else None
    mode = current.mode if current else Mode.STRONG
    if mode is Mode.STRONG:
        if is_kept_on_strong(history) or (current is not None and current.candidate is not None):
            return None
        return Step(Mode.SHADOW, None, f"small model {task.small!r} is configured", {})
    if newest is None or _was_there(newest, history, at):
        return None
    certificate = newest.summary["certificate"]
    if certificate["coverage"] > 0:
        on_trial = current is not None and current.candidate is not None
        too_loose = promise_kept(newest).epsilon > task.max_quality_loss
        return None if on_trial or too_loose else _to_route(current, newest)
    if mode is Mode.ROUTE:
        reason = f"the newest router certifies nothing: {certificate['reason']}"
        return Step(Mode.SHADOW, None, reason, _evidence(newest))
    return None


def is_kept_on_strong(history: Sequence[Promotion]) -> bool:
    """Whether a person put the task on strong, so that only a person takes it off.

    Who sets a bound on a task that is on strong says nothing of where it is to stay.
    """
    moved = list(history)
    while moved and _set_a_bound_alone(moved[-1], moved[-2].deployed if len(moved) > 1 else Deployed()):
        moved.pop()
    return bool(moved) and moved[-1].mode is Mode.STRONG and author_of(moved) not in (None, ACTOR)


def _set_a_bound_alone(promotion: Promotion, before: Deployed) -> bool:
    bound = promotion.max_quality_loss
    return bound != before.max_quality_loss and promotion.deployed == before._replace(max_quality_loss=bound)


def _was_there(router: Artifact, history: Sequence[Promotion], at: datetime) -> bool:
    """Whether a router was there when what is in force was promoted.

    A promotion of a clock that was ahead says nothing of when it was made, or it would keep every router
    from being promoted until that time has come.
    """
    dated = (promotion.at for promotion in history if promotion.at <= at + SKEW)
    return router.id in {promotion.artifact for promotion in history} or any(
        router.at <= one for one in dated
    )


def promise_kept(router: Artifact) -> Promise:
    """The bound that a router was certified for."""
    kept = router.settings
    return Promise(kept["epsilon"], kept["delta"], kept.get("certify_on", "trusted"))


def _to_route(current: Promotion | None, newest: Artifact) -> Step | None:
    if current is not None and (current.mode, current.artifact) == (Mode.ROUTE, newest.id):
        return None
    promise, coverage = promise_kept(newest), newest.summary["certificate"]["coverage"]
    reason = (
        f"certified: quality loss <= {promise.epsilon:g} with confidence {1 - promise.delta:g}, "
        f"coverage {coverage:.1%}"
    )
    if judges := newest.summary.get(JUDGED_BY):
        reason += f", as judged by {', '.join(judges)}"
    return Step(Mode.ROUTE, newest.id, reason, _evidence(newest))


def _evidence(router: Artifact) -> dict[str, Any]:
    """What justifies a step by a router: its summary, without what a person might choose instead."""
    return {name: value for name, value in router.summary.items() if name != CHOICES}
