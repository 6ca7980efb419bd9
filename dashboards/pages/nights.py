"""The nights of a task: what each did and decided, when the next one is due, and the form that starts one.

Invariant: a night is begun by `distill.night.run.start_now` alone, under the name of the person who asked for
it; the worker runs it.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from dashboards.charts.nights import timeline
from dashboards.queries.nights import A_PAGE, OneNight, newest_nights, night_status, read_night
from dashboards.site import Form, NotThere, Site, Visit, action, done, page
from distill.night.account import State
from distill.night.budget import minutes_of
from distill.night.machine import Outcome, Stage
from distill.night.run import start_now, under_way
from distill.night.text import duration
from evals.report.encode import to_json
from stepdown.ids import now
from stepdown.settings import StudentSettings

PATH = "/nights"
START = f"{PATH}/start"
REPORT = "report"
TONES = {
    str(Outcome.DONE): "good",
    str(Outcome.SKIPPED): "",
    str(Outcome.STOPPED): "warn",
    str(Outcome.FAILED): "bad",
    str(State.BEGUN): "strong",
}
DOES = {
    Stage.LABEL: "labels what is not labelled yet",
    Stage.SLICES: "finds the kinds of query in the traffic",
    Stage.DATASET: "builds a dataset of the best known answers, if there is enough new",
    Stage.TRAIN: "trains a student on it",
    Stage.EXPORT: "brings it into the forms in which it is served",
    Stage.EVALUATE: "serves it, and asks it the newest prompts",
    Stage.PRACTICE: "has it practise what it failed",
    Stage.GATE: "compares it with the model in service",
    Stage.RELABEL: "asks it more, for a router of its own",
    Stage.FIT: "fits that router",
    Stage.BOUND: "checks what the bound on quality loss allows it",
    Stage.CANARY: "begins its trial, in the shadow of the traffic",
    Stage.REPORT: "keeps the account of the night",
}


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, nights),
        page(site, START, review_start),
        action(site, START, start),
        page(site, f"{PATH}/{{id:path}}", night),
    ]


def nights(visit: Visit) -> Response:
    """Show the newest nights, and when the next one is due."""
    before = visit.query.get("before", "")
    found = newest_nights(visit.site.ledger, visit.task, before, A_PAGE + 1)
    if before and not found:
        raise NotThere(f"task {visit.task!r} has no night before {before!r:.100}", param="before")
    shown = found[:A_PAGE]
    return visit.render(
        "nights.html",
        nights=shown,
        status=night_status(visit.site.ledger, visit.site.settings, visit.task),
        tones=TONES,
        before=before,
        older=shown[-1].account.id if len(found) > A_PAGE else "",
    )


def night(visit: Visit) -> Response:
    """Show one night in full, or its report as JSON."""
    found = read_night(visit.site.ledger, visit.task, visit.names["id"])
    if found is None:
        raise NotThere(f"task {visit.task!r} has no night {visit.names['id']!r:.100}")
    if visit.query.get("as") == REPORT:
        return _report(found)
    account = found.told.account
    return visit.render(
        "night.html",
        night=account,
        told=found.told,
        events=found.events,
        report=found.report,
        tones=TONES,
        does={str(stage): words for stage, words in DOES.items()},
        found={stage.stage: _indented(dict(stage.found)) for stage in account.stages if stage.found},
        gates=[gate for stage in account.stages for gate in stage.found.get("gates", ())],
        student=_named(found, Stage.TRAIN, "student"),
        timeline=timeline(account, now()),
        duration=duration,
    )


def review_start(visit: Visit) -> Response:
    """Show what a night would do, and why none can be started where that is so."""
    ledger, task = visit.site.ledger, visit.task
    declared = visit.site.settings.tasks.get(task)
    student = declared.student if declared else None
    running = under_way(ledger, task)
    last = newest_nights(ledger, task, most=1)
    return visit.render(
        "night_start.html",
        stages=[(str(stage), DOES[stage], minutes_of(stage, student)) for stage in Stage] if student else [],
        student=student,
        running=running,
        last=last[0] if last else None,
        budget=_budget(student),
        status=night_status(ledger, visit.site.settings, task),
    )


def start(visit: Visit, form: Form) -> Response:
    """Write down a night; the worker runs it."""
    begun = start_now(visit.site.ledger, visit.site.settings, visit.task, visit.person.name)
    said = f"Night {begun.id} is written down; the worker takes it up at its next look."
    return done(visit, visit.link(f"{PATH}/{begun.id}"), said)


def _budget(student: StudentSettings | None) -> str:
    if student is None or not student.stage_usd:
        return ""
    return ", ".join(f"{name} ${usd:,.2f}" for name, usd in student.stage_usd.items())


def _report(found: OneNight) -> Response:
    content = found.report.content if found.report else to_json(found.told.account)
    headers = {"content-disposition": 'attachment; filename="night.json"'}
    return Response(content, media_type="application/json", headers=headers)


def _named(found: OneNight, stage: Stage, name: str) -> str:
    """An artifact that a stage found; empty where it found none."""
    return str(next((s.found.get(name, "") for s in found.told.account.stages if s.stage == stage), ""))


def _indented(values: object) -> str:
    return msgspec.json.format(msgspec.json.encode(values, order="sorted"), indent=2).decode()
