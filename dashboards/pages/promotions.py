"""What is in force and how it came to be, and the forms that move it.

Invariant: nothing is moved but by a promotion that is based on the very one that was shown.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from dashboards.moves import changes, check_small, check_task, in_force, promote, review
from dashboards.site import Form, NotThere, Site, Visit, action, done, page
from stepdown.errors import BadRequest, StepdownError
from stepdown.records import Artifact, Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import Rollback, rollback_of

PATH = "/promotions"
MOST_SHOWN = 200


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
    steps = [(one, changes(before, one.deployed)) for before, one in _steps(history)]
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
            diff = changes(before, one.deployed)
            return visit.render("promotion.html", promotion=one, diff=diff)
    raise NotThere(f"task {visit.task!r} has no promotion {sequence!r:.100}")


def review_move(visit: Visit) -> Response:
    """Show what moving to a mode would change."""
    mode = _mode(visit.query.get("mode", ""))
    registry = Registry(visit.site.ledger)
    history = registry.history(visit.task)
    now = in_force(history)
    to = _moved(visit, registry, now, mode)
    return review(
        visit,
        history,
        to,
        title=f"Move to mode {mode}",
        action=f"{PATH}/move",
        fields={"task": visit.task, "mode": mode.value, "router": to.artifact or ""},
        button=f"Move to mode {mode}",
        back=visit.link(PATH),
        warns=["A student is on trial; this ends its trial."] if now.candidate else [],
    )


def move(visit: Visit, form: Form) -> Response:
    """Move to a mode."""
    check_task(visit, form)
    task, registry = visit.task, Registry(visit.site.ledger)
    to = _moved(visit, registry, registry.deployed(task), _mode(form["mode"]))
    if (to.artifact or "") != form["router"]:
        raise StepdownError(f"a newer router of task {task!r} was fitted meanwhile; look, and try again")
    promote(visit, form, to)
    return done(visit, visit.link(PATH), f"Task {task} is in mode {to.mode} now.")


def review_rollback(visit: Visit) -> Response:
    """Show what a rollback would put back."""
    history = Registry(visit.site.ledger).history(visit.task)
    found = _rollback(visit.task, history)
    return review(
        visit,
        history,
        found.to,
        title=f"Roll back promotion {found.named}",
        action=f"{PATH}/rollback",
        fields={"task": visit.task},
        button="Roll back",
        back=visit.link(PATH),
        asks_reason=False,
    )


def roll_back(visit: Visit, form: Form) -> Response:
    """Put back what was in force before the last promotion."""
    check_task(visit, form)
    found = _rollback(visit.task, Registry(visit.site.ledger).history(visit.task))
    named = found.named
    promote(visit, form, found.to, reason=f"rollback of promotion {named}", evidence=found.evidence)
    return done(visit, visit.link(PATH), f"Promotion {named} of task {visit.task} was rolled back.")


def _rollback(task: str, history: list[Promotion]) -> Rollback:
    found = rollback_of(history)
    if found is None:
        raise StepdownError(f"task {task!r} has no promotion to roll back; it is in mode strong")
    return found


def _steps(history: list[Promotion]) -> list[tuple[Deployed, Promotion]]:
    """Each promotion, and what was in force before it."""
    before = [Deployed(), *(one.deployed for one in history)]
    return list(zip(before, history, strict=False))


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        known = ", ".join(mode.value for mode in Mode)
        raise BadRequest(f"mode = {name!r:.40} is none; there are {known}", param="mode") from None


def _moved(visit: Visit, registry: Registry, now: Deployed, mode: Mode) -> Deployed:
    """What is in force in a mode: in mode route with the newest router of the model in service."""
    if mode is not Mode.STRONG:
        check_small(visit)
    router = _router(registry, visit.task, now) if mode is Mode.ROUTE else None
    return now.settled._replace(mode=mode, artifact=router.id if router else None)


def _router(registry: Registry, task: str, now: Deployed) -> Artifact:
    found = registry.newest("router", task, student=now.student)
    if found is None:
        raise StepdownError(
            f"task {task!r} has no router yet; the workers fit one when there are labels enough"
        )
    return found
