"""Students as the ledger has them: where each comes from, what was made of it, and how its trial goes.

Invariant: nothing here reads traffic. What takes a reading of all of it, bills and the tests of a canary, is
what the workers kept last, and says when that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from distill.bill.keep import kept_roll
from distill.bill.lineage import Lineage, lineages
from distill.bill.material import Student, students_of
from distill.bill.roll import Roll
from distill.bill.tree import StudentBill
from distill.evaluation import read_gate
from distill.rollout.keep import SERVICE, TRIAL, KeptProgress, kept_progress, progress_in
from distill.verdict import Verdict
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Promotion
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas
from stepdown.students import served_name

MOST_ROUTERS = 20
MOST_POINTS = 2_000  # of a curve, evenly taken

_a, _p, _e = schema.artifacts, schema.progress, schema.expenses


@dataclass(frozen=True, slots=True)
class Watched:
    """The student on trial or in service, and how it does.

    Attributes:
        since: When this began.
        kept: What was found last; None where nothing was yet.
        is_current: Whether that is of a look, and not of the promotion that began this.
    """

    student: str
    on_trial: bool
    share: float
    since: datetime
    kept: KeptProgress | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class School:
    """All students of a task, the newest first, with what is in force."""

    students: Sequence[Lineage]
    deployed: Deployed
    watched: Sequence[Watched]
    roll: Roll | None
    servers: Sequence[Replica]

    @property
    def bills(self) -> dict[str, StudentBill]:
        """The bills that were kept, by student."""
        return {one.bill.student: one.bill for one in self.roll.students} if self.roll else {}

    def named(self, served: str) -> str:
        """The student that a server knows by a name; empty where it is none of this task's."""
        return next((one.student for one in self.students if served_name(one.student) == served), "")


@dataclass(frozen=True, slots=True)
class Made:
    """An artifact that a student comes from, or that was made of it."""

    id: str
    kind: str
    at: datetime
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Training:
    """The run that made a student: machine hours, and the curves by kind."""

    run: str
    seconds: float
    usd_micros: int
    unpriced: int
    curves: Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class OneStudent:
    """One student in full.

    Attributes:
        promotions: That name it, oldest first.
        gates: The newest first, as artifacts; `verdict` is the newest one's.
    """

    line: Lineage
    student: Student
    dataset: Made | None
    exports: Sequence[Lineage]
    gates: Sequence[Made]
    verdict: Verdict | None
    routers: Sequence[Made]
    promotions: Sequence[Promotion]
    training: Training | None


def read_school(ledger: Ledger, task: str, small: str | None) -> School:
    """The students of a task.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    history = Registry(ledger).history(task)
    lines = lineages(ledger, task, students_of(ledger, task), history)
    return School(
        students=lines[::-1],
        deployed=history[-1].deployed if history else Deployed(),
        watched=watched(ledger, task, history),
        roll=kept_roll(ledger, task),
        servers=[one for one in Replicas(ledger).all() if one.alias == small],
    )


def watched(ledger: Ledger, task: str, history: Sequence[Promotion]) -> list[Watched]:
    """The candidate on trial and the student in service, each with what was found last."""
    if not history:
        return []
    newest = history[-1]
    found = []
    for name, student in ((TRIAL, newest.candidate), (SERVICE, newest.student)):
        if student is not None:
            on_trial = name == TRIAL
            since = _since(history, student, on_trial)
            kept = kept_progress(ledger, task, name, student)
            is_current = kept is not None and kept.at is not None and kept.at >= since.at
            told = kept if is_current else progress_in(since, student)
            share = newest.candidate_share if on_trial else 1.0
            found.append(Watched(student, on_trial, share, since.at, told, is_current))
    return found


def _since(history: Sequence[Promotion], student: str, on_trial: bool) -> Promotion:
    """The promotion that began what is going on: this share of a trial, or this time in service."""
    began = history[-1]
    for promotion in reversed(history):
        same = promotion.candidate == student if on_trial else promotion.student == student
        if not same or (on_trial and promotion.candidate_share != history[-1].candidate_share):
            break
        began = promotion
    return began


def read_student(ledger: Ledger, task: str, name: str) -> OneStudent | None:
    """One student with all that it is related to; None where there is none of that id.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    history, students = Registry(ledger).history(task), students_of(ledger, task)
    lines = {one.student: one for one in lineages(ledger, task, students, history)}
    if name not in lines:
        return None
    line = lines[name]
    gates = _made(ledger, task, "gate", name)
    return OneStudent(
        line=line,
        student=next(one for one in students if one.artifact.id == name),
        dataset=_one(ledger, line.dataset),
        exports=[one for one in lines.values() if one.exported_from == name],
        gates=gates,
        verdict=_verdict(ledger, gates),
        routers=_made(ledger, task, "router", name),
        promotions=[one for one in history if name in (one.student, one.candidate)],
        training=_training(ledger, task, line) if line.run else None,
    )


def _made(ledger: Ledger, task: str, kind: str, student: str) -> list[Made]:
    """What was made for a student, the newest first."""
    columns = (_a.c.id, _a.c.kind, _a.c.at, _a.c.settings, _a.c.summary)
    began = select(_a.c.at).where(_a.c.id == student).scalar_subquery()
    wanted = (_a.c.task == task) & (_a.c.kind == kind) & (_a.c.at >= began)
    rows = ledger.rows(select(*columns).where(wanted).order_by(_a.c.at.desc()))
    own = [row for row in rows if row.settings.get("student") == student]
    return [Made(row.id, row.kind, row.at, row.summary) for row in own[:MOST_ROUTERS]]


def _one(ledger: Ledger, name: str | None) -> Made | None:
    rows = ledger.rows(select(_a.c.id, _a.c.kind, _a.c.at, _a.c.summary).where(_a.c.id == (name or "")))
    return Made(**rows[0]._mapping) if rows else None


def _verdict(ledger: Ledger, gates: Sequence[Made]) -> Verdict | None:
    if not gates:
        return None
    try:
        return read_gate(Registry(ledger).artifact(gates[0].id))
    except (ArtifactError, LookupError, TypeError, ValueError):  # it is corrupt, or of another version
        return None


def _training(ledger: Ledger, task: str, line: Lineage) -> Training:
    of_run = (_e.c.task == task) & _e.c.subject.in_((line.run, line.student))
    spent = ledger.rows(select(_e.c.seconds, _e.c.cost_usd_micros).where(of_run))
    return Training(
        run=line.run,
        seconds=sum(row.seconds for row in spent),
        usd_micros=sum(row.cost_usd_micros or 0 for row in spent),
        unpriced=sum(row.cost_usd_micros is None for row in spent),
        curves=_curves(ledger, line.run),
    )


def _curves(ledger: Ledger, run: str) -> dict[str, list[tuple[int, float]]]:
    """The losses by kind; of a long training every n-th point."""
    steps = int(ledger.rows(select(func.count()).select_from(_p).where(_p.c.run == run))[0][0])
    every = max(1, steps // MOST_POINTS)
    curves: dict[str, list[tuple[int, float]]] = {}
    wanted = (_p.c.run == run) & ((_p.c.kind != "train") | (_p.c.step % every == 0))
    query = select(_p.c.kind, _p.c.step, _p.c["values"]).where(wanted).order_by(_p.c.step)
    for row in ledger.rows(query):
        loss = row._mapping["values"].get("loss")
        if isinstance(loss, int | float):
            curves.setdefault(row.kind, []).append((row.step, float(loss)))
    return curves
