"""What all forms that move a task share: what is shown before, and the promotion that is made after.

Invariant: nothing is moved but by a promotion that is based on the very one that was shown, under the name of
the person who asked for it. Which moves there are, the pages know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from dashboards.site import Form, Visit
from stepdown.errors import BadRequest, StepdownError
from stepdown.records import Deployed, Promotion
from stepdown.registry import Registry

MAX_REASON = 1000
NAMES = {
    "mode": "Mode",
    "artifact": "Router",
    "student": "Student",
    "candidate": "On trial",
    "candidate_router": "Router on trial",
    "candidate_share": "Share on trial",
    "max_quality_loss": "Bound set by hand",
}


class Change(NamedTuple):
    """One line of a diff of what is in force."""

    name: str
    before: str
    after: str


def changes(before: Deployed, after: Deployed) -> list[Change]:
    """The diff of what is in force."""
    return [
        Change(NAMES[name], _shown(getattr(before, name)), _shown(getattr(after, name)))
        for name in Deployed._fields
        if getattr(before, name) != getattr(after, name)
    ]


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"{100 * value:g}%" if isinstance(value, float) else str(value)


def in_force(history: Sequence[Promotion]) -> Deployed:
    """What is in force after a task's promotions, oldest first."""
    return history[-1].deployed if history else Deployed()


def review(
    visit: Visit,
    history: Sequence[Promotion],
    to: Deployed,
    *,
    title: str,
    action: str,
    fields: Mapping[str, object],
    button: str,
    back: str,
    warns: Sequence[str] = (),
    asks_reason: bool = True,
) -> Response:
    """Show what a move would change, and the form that makes it.

    Args:
        visit: Of whom it is shown to.
        history: The task's promotions, oldest first.
        to: What would be in force.
        title: Of the page.
        action: Where the form goes.
        fields: What the form says beside the promotion that it is based on.
        button: What is on the form's button.
        back: Where to go without a move.
        warns: What speaks against it.
        asks_reason: Whether the form asks why.
    """
    return visit.render(
        "review.html",
        title=title,
        action=action,
        fields={**fields, "after": history[-1].sequence if history else 0},
        diff=changes(in_force(history), to),
        warns=warns,
        asks_reason=asks_reason,
        button=button,
        back=back,
    )


def promote(
    visit: Visit, form: Form, to: Deployed, *, reason: str | None = None, evidence: Mapping[str, Any] = {}
) -> None:
    """Make the move that a form asks for.

    Args:
        visit: Of who asks.
        form: Says which promotion it is based on, and why.
        to: What is to be in force.
        reason: Why; None is what the form says.
        evidence: For the record.

    Raises:
        StepdownError: It is in force already, or somebody else promoted since; nothing was changed.
    """
    task, registry = visit.task, Registry(visit.site.ledger)
    after, current = form.whole("after"), registry.current(task)
    if current is not None and current.deployed == to:
        raise StepdownError(f"task {task!r} is so already; nothing was changed")
    why = reason or reason_of(form)
    if not registry.promote(task, to, actor=visit.person.name, reason=why, evidence=evidence, after=after):
        raise StepdownError(f"task {task!r} was promoted by somebody else meanwhile; look, and try again")


def reason_of(form: Form) -> str:
    """Why somebody moves a task, for the record."""
    return form.get("reason").strip()[:MAX_REASON] or "on the dashboard"


def check_task(visit: Visit, form: Form) -> None:
    """Refuse a form that is about another task than its page.

    Raises:
        BadRequest: It is.
    """
    task = form["task"]
    if task != visit.task:
        raise BadRequest(
            f"the form is about task {task!r:.200} and the page about {visit.task!r}", param="task"
        )


def check_small(visit: Visit) -> None:
    """Refuse a move to a small model where there is none.

    Raises:
        StepdownError: The task has none.
    """
    declared = visit.site.settings.tasks.get(visit.task)
    if declared is None or declared.small is None:
        raise StepdownError(f"task {visit.task!r} has no small model; set tasks.{visit.task}.small")
