"""What the bills of a task's students are made from, read from the ledger once.

Invariant: nothing is computed here but who is related to whom: each student to the training that made it, to
the student it was exported from, and to the others of that training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import select

from distill.bill.costs import Claims, Spent
from evals.outcomes import Outcomes, read_outcomes
from evals.report.build import rates_of
from evals.report.savings import Rates
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger, schema
from stepdown.records import Arm, Artifact, Mode, Promotion
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from stepdown.students import STUDENT, Manifest, manifest_of


class Student(NamedTuple):
    """A student's artifact, and its manifest, None where that is corrupt."""

    artifact: Artifact
    manifest: Manifest | None


def claims_of(student: Student, students: Sequence[Student]) -> Claims:
    """Which expenses are on the bill of one of a task's students."""
    own = student.artifact.id
    forms = Counter(parent for one in students for parent in one.artifact.parents)
    sources = [one.artifact.id for one in students if one.artifact.id in student.artifact.parents]
    export = {source: 1 / forms[source] for source in sources}
    if not forms[own]:
        export[own] = 1.0
    run = (student.manifest.run,) if student.manifest else ()
    return Claims(frozenset((own, *run)), export)


@dataclass(frozen=True, slots=True)
class Material:
    """All of it.

    Attributes:
        students: The oldest first.
        arms: Rows `request`, `student`, `canary`: the requests that a canary's chance gave to either arm.
        decided: Requests by the student whose policy decided them.
        history: The task's promotions, oldest first.
    """

    task: str
    students: Sequence[Student]
    outcomes: Outcomes
    pairs: dict[str, pd.DataFrame]
    spent: Spent
    arms: pd.DataFrame
    decided: dict[str, int]
    history: Sequence[Promotion]
    rates: Rates


def read_material(ledger: Ledger, settings: Settings, task: str) -> Material:
    """Read what the bills need.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    declared = settings.tasks.get(task) or TaskSettings()
    outcomes = read_outcomes(ledger, task, audit_share=declared.audit_share)
    decisions = _decisions(ledger, task)
    in_canary = decisions[decisions["arm"].notna()]
    return Material(
        task=task,
        students=students_of(ledger, task),
        outcomes=outcomes,
        pairs=outcomes.pairs_by_small,
        spent=Spent(_expenses(ledger, task), _cached(ledger, task), outcomes.calls),
        arms=in_canary.assign(canary=in_canary["arm"] == Arm.CANARY),
        decided=dict(Counter(decisions.loc[decisions["mode"] == Mode.ROUTE, "student"].dropna())),
        history=Registry(ledger).history(task),
        rates=rates_of(settings, declared),
    )


def students_of(ledger: Ledger, task: str) -> list[Student]:
    """All students that were ever made for a task, the oldest first.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    table = schema.artifacts
    query = (
        select(table)
        .where((table.c.kind == STUDENT) & (table.c.task == task))
        .order_by(table.c.at, table.c.id)
    )
    return [
        _student(Artifact(**{**row._mapping, "parents": tuple(row.parents)})) for row in ledger.rows(query)
    ]


def _student(artifact: Artifact) -> Student:
    try:
        return Student(artifact, manifest_of(artifact))
    except ArtifactError:
        return Student(artifact, None)


def _expenses(ledger: Ledger, task: str) -> Sequence[Any]:
    table = schema.expenses
    return ledger.rows(select(table).where(table.c.task == task).order_by(table.c.at))


def _cached(ledger: Ledger, task: str) -> Sequence[Any]:
    table = schema.cached_answers
    return ledger.rows(select(table.c.at, table.c.model, table.c.cost_usd_micros).where(table.c.task == task))


def _decisions(ledger: Ledger, task: str) -> pd.DataFrame:
    requests, decisions = schema.requests, schema.decisions
    query = (
        select(*(decisions.c[name] for name in ("request", "mode", "student", "arm")))
        .select_from(decisions.join(requests, requests.c.id == decisions.c.request))
        .where((requests.c.task == task) & (decisions.c.student.is_not(None) | decisions.c.arm.is_not(None)))
    )
    rows = [tuple(row) for row in ledger.rows(query)]
    return pd.DataFrame(rows, columns=["request", "mode", "student", "arm"], dtype=object)
