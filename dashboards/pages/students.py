"""The students of a task: where each comes from, what became of it, what it earns; and forms that move it.

Invariant: nothing is moved but on the very promotion that was shown, under the name of the person who asked
for it: a step on by `distill.rollout.steps`, and back by a rollback.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import Route

from dashboards.amounts import dollars
from dashboards.charts.students import gate_differences, is_difference, training_curves
from dashboards.moves import check_small, in_force, promote, reason_of, review
from dashboards.queries.students import OneStudent, read_school, read_student, watched
from dashboards.site import Form, NotThere, Site, Visit, action, done, page
from distill.bill.keep import kept_roll
from distill.bill.lineage import Place
from distill.bill.tree import Outlook, Payback
from distill.rollout.steps import by_hand, planned_by_hand
from distill.rollout.trial import rollback_from_service
from distill.verdict import Criterion, Outcome
from stepdown.errors import BadRequest, StepdownError
from stepdown.records import Promotion
from stepdown.registry import Registry
from stepdown.rollback import Rollback, rollback_of
from stepdown.settings import StudentSettings

PATH = "/students"
SHADOW, LIVE = "shadow", "live"
TONES = {
    Place.IN_SERVICE: "good",
    Place.CANARY: "small",
    Place.SHADOW: "small",
    Place.ROLLED_BACK: "bad",
    Place.STOPPED: "warn",
}
OUTCOME_TONES = {Outcome.PASSED: "good", Outcome.FAILED: "bad", Outcome.UNMEASURED: "warn"}


@dataclass(frozen=True, slots=True)
class GateLine:
    """One criterion of the gate, as it is written."""

    name: str
    n: int
    estimate: str
    interval: str
    limit: str
    p: str
    outcome: str
    tone: str
    reason: str


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, students),
        page(site, f"{PATH}/{{student}}", student),
        page(site, f"{PATH}/{{student}}/promote", review_promote),
        action(site, f"{PATH}/{{student}}/promote", take_step),
        page(site, f"{PATH}/{{student}}/rollback", review_rollback),
        action(site, f"{PATH}/{{student}}/rollback", take_back),
    ]


def students(visit: Visit) -> Response:
    """Show all students, and how the one on trial and the one in service do."""
    declared = visit.site.settings.tasks.get(visit.task)
    school = read_school(visit.site.ledger, visit.task, declared.small if declared else None)
    return visit.render(
        "students.html",
        school=school,
        bills=school.bills,
        tones=TONES,
        steps=_steps(visit),
        distils=declared is not None and declared.student is not None,
        ladder=ladder,
        bar=e_share,
        break_even=break_even,
    )


def student(visit: Visit) -> Response:
    """Show one student in full."""
    found = _found(visit)
    ledger, verdict = visit.site.ledger, found.verdict
    roll = kept_roll(ledger, visit.task)
    bills = {one.bill.student: one.bill for one in roll.students} if roll else {}
    looks = watched(ledger, visit.task, Registry(ledger).history(visit.task))
    return visit.render(
        "student.html",
        one=found,
        tones=TONES,
        bill=bills.get(found.line.student),
        roll=roll,
        watched=[one for one in looks if one.student == found.line.student],
        bar=e_share,
        ladder=ladder,
        steps=_steps(visit),
        gate=[gate_line(one) for one in verdict.criteria] if verdict else [],
        differences=gate_differences(verdict) if verdict else None,
        curves=training_curves(found.training.curves) if found.training else None,
        choices=[SHADOW, *(f"{share:g}" for share in _steps(visit)), LIVE],
        may_go_back=found.line.place in (Place.IN_SERVICE, Place.CANARY, Place.SHADOW),
        break_even=break_even,
    )


def review_promote(visit: Visit) -> Response:
    """Show what a step of a student would change."""
    found, step = _found(visit), visit.query.get("step", SHADOW)
    name, history = found.line.student, Registry(visit.site.ledger).history(visit.task)
    check_small(visit)
    to = planned_by_hand(visit.site.ledger, visit.task, history, name, router=None, share=_share(step))
    said = _words(step).capitalize()
    return review(
        visit,
        history,
        to,
        title=f"{said}: student {name[:12]}",
        action=f"{PATH}/{name}/promote",
        fields={"step": step},
        button=said,
        back=visit.link(f"{PATH}/{name}"),
        warns=_warnings(found, step),
    )


def take_step(visit: Visit, form: Form) -> Response:
    """Make the step."""
    name, step = _found(visit).line.student, form["step"]
    check_small(visit)
    by_hand(
        visit.site.ledger,
        visit.task,
        name,
        router=None,
        share=_share(step),
        actor=visit.person.name,
        reason=reason_of(form),
        after=form.whole("after"),
    )
    return done(visit, visit.link(f"{PATH}/{name}"), f"Student {name[:12]}: {_words(step)}.")


def review_rollback(visit: Visit) -> Response:
    """Show what taking a student out would put back."""
    name, history = _found(visit).line.student, Registry(visit.site.ledger).history(visit.task)
    return review(
        visit,
        history,
        _rollback(visit.task, history, name).to,
        title=f"Take out student {name[:12]}",
        action=f"{PATH}/{name}/rollback",
        fields={},
        button="Roll back",
        back=visit.link(f"{PATH}/{name}"),
    )


def take_back(visit: Visit, form: Form) -> Response:
    """Take a student out."""
    name, history = _found(visit).line.student, Registry(visit.site.ledger).history(visit.task)
    found = _rollback(visit.task, history, name)
    promote(visit, form, found.to, evidence=found.evidence)
    return done(visit, visit.link(f"{PATH}/{name}"), f"Student {name[:12]} was taken out.")


def _rollback(task: str, history: Sequence[Promotion], student: str) -> Rollback:
    """The rollback that takes a student out; one in service goes with a trial that is under way."""
    current, found = in_force(history), None
    if student == current.candidate:
        found = rollback_of(history)
    elif student == current.student:
        found = rollback_from_service(history)
    if found is None:
        raise StepdownError(f"student {student[:12]} of task {task!r} is neither on trial nor in service")
    return found


def _found(visit: Visit) -> OneStudent:
    found = read_student(visit.site.ledger, visit.task, visit.names["student"])
    if found is None:
        raise NotThere(f"task {visit.task!r} has no student {visit.names['student']!r:.100}")
    return found


def _steps(visit: Visit) -> tuple[float, ...]:
    """The shares of a canary, by the settings."""
    declared = visit.site.settings.tasks.get(visit.task)
    student = (declared.student if declared else None) or StudentSettings(base="-")
    return tuple(sorted(student.canary_shares))


def _share(step: str) -> float | None:
    """The share that a step is; None is live."""
    if step == LIVE:
        return None
    try:
        share = 0.0 if step == SHADOW else float(step)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise BadRequest(
            f"step = {step!r:.40} is neither shadow, live, nor a share between 0 and 1", param="step"
        )
    return share


def _words(step: str) -> str:
    share = _share(step)
    if share is None:
        return "put in service"
    return f"let decide {share:.0%} of the traffic" if share else "try in the shadow"


def _warnings(found: OneStudent, step: str) -> list[str]:
    said = []
    if found.line.place is Place.ROLLED_BACK:
        said.append(f"It was rolled back before: {found.line.why}")
    if found.verdict is None:
        said.append("It was not at the gate: nothing says yet that it is good enough.")
    elif not found.verdict.passed:
        said.append(f"The gate stopped it: {found.verdict.reason}")
    if step == LIVE and found.line.place is not Place.CANARY:
        said.append("It skips the canary, in which a test watches it on a part of the traffic.")
    return said


def ladder(steps: Sequence[float], on_trial: bool, share: float) -> list[tuple[str, bool, bool]]:
    """The steps of a rollout: each in words, whether it was come to, and whether it is the present one."""
    places = [0.0, *steps, 1.0]
    here = share if on_trial else 1.0
    current = max(place for place in places if place <= here)
    names = ["shadow", *(f"{one:.0%}" for one in steps), "live"]
    return [(name, at <= here, at == current) for name, at in zip(names, places, strict=True)]


def e_share(e_value: float | None, needed: float | None) -> float | None:
    """How far an e-value is on its way, in [0, 1]: both grow by factors, so by their logarithms."""
    if e_value is None or needed is None or needed <= 1:
        return None
    return min(1.0, max(0.0, math.log(max(e_value, 1e-12)) / math.log(needed)))


def break_even(found: Payback, unknown: int) -> Markup | str:
    """When a student pays itself back, in words."""
    if found.outlook in (Outlook.PAID, Outlook.WILL) and found.day is not None:
        ends = [f"{day:%Y-%m-%d}" if day else "never" for day in (found.early, found.late)]
        least = " at the earliest, as some costs are unknown" if unknown else ""
        return Markup("{} on <strong>{:%Y-%m-%d}</strong>{} <span class=interval>{} to {}</span>").format(
            str(found.outlook), found.day, least, *ends
        )
    return str(found.outlook)


def gate_line(one: Criterion) -> GateLine:
    """A criterion of the gate, as it is written."""
    ends = " to ".join("unbounded" if end is None else _number(one, end) for end in (one.low, one.high))
    known = one.estimate is not None
    missing = f" ({one.unscored:,} more lack a label)" if one.unscored else ""
    return GateLine(
        name=one.name,
        n=one.n,
        estimate=_number(one, one.estimate) if one.estimate is not None else "",
        interval=ends if known else "",
        limit=_number(one, one.limit),
        p="" if one.p is None else f"{one.p:.3f}" if one.p >= 0.001 else "below 0.001",
        outcome=str(one.outcome),
        tone=OUTCOME_TONES.get(one.outcome, ""),
        reason=f"{one.reason}{missing}",
    )


def _number(one: Criterion, value: float) -> str:
    if one.unit == "usd_micros":
        return dollars(value)
    if one.unit == "ratio":
        return f"{value:.2f}×"
    return f"{100 * value:+.1f}%" if is_difference(one) else f"{100 * value:.1f}%"
