"""What is in force and how it came to be, and the forms that move it.

Invariant: nothing is moved but by a promotion that is based on the very one that was shown.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import Route

from dashboards.site import Form, NotThere, Site, Visit, action, done, page
from stepdown.errors import BadRequest, StepdownError
from stepdown.records import Artifact, Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF, rollback_of

PATH = "/promotions"
MOST_SHOWN = 200
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


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, promotions),
        page(site, f"{PATH}/move", review_move),
        action(site, f"{PATH}/move", move),
        page(site, f"{PATH}/rollback", review_rollback),
        action(site, f"{PATH}/rollback", roll_back),
        page(site, f"{PATH}/{{sequence}}", promotion),
    ]


def promotions(visit: Visit) -> Response:
    """Show what is in force, and all that was."""
    history = Registry(visit.site.ledger).history(visit.task)
    steps = [
        (one, changes(before.deployed if before else Deployed(), one.deployed))
        for before, one in _steps(history)
    ]
    return visit.render(
        "promotions.html",
        current=history[-1] if history else None,
        steps=steps[::-1][:MOST_SHOWN],
        total=len(steps),
        modes=[mode.value for mode in Mode],
        may_roll_back=rollback_of(history) is not None,
    )


def promotion(visit: Visit) -> Response:
    """Show one promotion with its evidence."""
    history = Registry(visit.site.ledger).history(visit.task)
    sequence = visit.names["sequence"]
    for before, one in _steps(history):
        if str(one.sequence) == sequence:
            diff = changes(before.deployed if before else Deployed(), one.deployed)
            return visit.render("promotion.html", promotion=one, diff=diff)
    raise NotThere(f"task {visit.task!r} has no promotion {sequence!r:.100}")


def review_move(visit: Visit) -> Response:
    """Show what moving to a mode would change."""
    mode = _mode(visit.query.get("mode", ""))
    registry = Registry(visit.site.ledger)
    history = registry.history(visit.task)
    now = history[-1].deployed if history else Deployed()
    to = _moved(visit, registry, now, mode)
    return visit.render(
        "review.html",
        title=f"Move to mode {mode}",
        action=f"{PATH}/move",
        fields={
            "task": visit.task,
            "mode": mode.value,
            "router": to.artifact or "",
            "after": history[-1].sequence if history else 0,
        },
        diff=changes(now, to),
        warns=_warnings(now),
        asks_reason=True,
        button=f"Move to mode {mode}",
        back=visit.link(PATH),
    )


def move(visit: Visit, form: Form) -> Response:
    """Move to a mode."""
    task, registry = _task_of(visit, form), Registry(visit.site.ledger)
    to = _moved(visit, registry, registry.deployed(task), _mode(form["mode"]))
    if (to.artifact or "") != form["router"]:
        raise StepdownError(f"a newer router of task {task!r} was fitted meanwhile; look, and try again")
    _promote(visit, form, task, to, form.get("reason").strip() or "on the dashboard", {})
    return done(visit, visit.link(PATH), f"Task {task} is in mode {to.mode} now.")


def review_rollback(visit: Visit) -> Response:
    """Show what a rollback would put back."""
    history = Registry(visit.site.ledger).history(visit.task)
    found = rollback_of(history)
    if found is None:
        raise StepdownError(f"task {visit.task!r} has no promotion to roll back; it is in mode strong")
    return visit.render(
        "review.html",
        title="Roll back promotion " + ", ".join(map(str, found.takes_back)),
        action=f"{PATH}/rollback",
        fields={"task": visit.task, "after": history[-1].sequence},
        diff=changes(history[-1].deployed, found.to),
        warns=[],
        asks_reason=False,
        button="Roll back",
        back=visit.link(PATH),
    )


def roll_back(visit: Visit, form: Form) -> Response:
    """Put back what was in force before the last promotion."""
    task = _task_of(visit, form)
    found = rollback_of(Registry(visit.site.ledger).history(task))
    if found is None:
        raise StepdownError(f"task {task!r} has no promotion to roll back; it is in mode strong")
    named = ", ".join(map(str, found.takes_back))
    _promote(
        visit, form, task, found.to, f"rollback of promotion {named}", {ROLLBACK_OF: list(found.takes_back)}
    )
    return done(visit, visit.link(PATH), f"Promotion {named} of task {task} was rolled back.")


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


def _steps(history: list[Promotion]) -> list[tuple[Promotion | None, Promotion]]:
    return list(zip([None, *history], history, strict=False))


def _task_of(visit: Visit, form: Form) -> str:
    task = form["task"]
    if task != visit.task:
        raise BadRequest(
            f"the form is about task {task!r:.200} and the page about {visit.task!r}", param="task"
        )
    return task


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        known = ", ".join(mode.value for mode in Mode)
        raise BadRequest(f"mode = {name!r:.40} is none; there are {known}", param="mode") from None


def _moved(visit: Visit, registry: Registry, now: Deployed, mode: Mode) -> Deployed:
    """What is in force in a mode: in mode route with the newest router of the model in service."""
    declared = visit.site.settings.tasks.get(visit.task)
    if mode is not Mode.STRONG and (declared is None or declared.small is None):
        raise StepdownError(f"task {visit.task!r} has no small model; set tasks.{visit.task}.small")
    router = _router(registry, visit.task, now) if mode is Mode.ROUTE else None
    return now.settled._replace(mode=mode, artifact=router.id if router else None)


def _router(registry: Registry, task: str, now: Deployed) -> Artifact:
    found = registry.newest("router", task, student=now.student)
    if found is None:
        raise StepdownError(
            f"task {task!r} has no router yet; the workers fit one when there are labels enough"
        )
    return found


def _warnings(now: Deployed) -> list[str]:
    return ["A student is on trial; this ends its trial."] if now.candidate else []


def _promote(
    visit: Visit, form: Form, task: str, to: Deployed, reason: str, evidence: dict[str, object]
) -> None:
    registry = Registry(visit.site.ledger)
    after = form.whole("after")
    current = registry.current(task)
    if current is not None and current.deployed == to:
        raise StepdownError(f"task {task!r} is so already; nothing was changed")
    moved = (current.sequence if current else 0) == after and registry.promote(
        task, to, actor=visit.person.name, reason=reason[:1000], evidence=evidence, after=after
    )
    if not moved:
        raise StepdownError(f"task {task!r} was promoted by somebody else meanwhile; look, and try again")
