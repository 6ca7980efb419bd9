"""Where each student comes from, and what became of it.

Invariant: it is read from artifacts and promotions alone. A student is where the newest promotion has it; one
that no promotion names was stopped by its gate, or never tried.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import select

from distill.bill.material import Student
from distill.gate import SAMPLE
from distill.verdict import Verdict, from_values
from evals.metrics.intervals import Estimate
from stepdown.ledger import Ledger, schema
from stepdown.records import Promotion
from stepdown.rollback import ROLLBACK_OF

GATE, DATASET = "gate", "dataset"


class Place(enum.StrEnum):
    """Where a student is."""

    IN_SERVICE = "in service"
    CANARY = "on trial, canary"
    SHADOW = "on trial, shadow"
    ROLLED_BACK = "rolled back"
    SUCCEEDED = "succeeded by another"
    STOPPED = "stopped by the gate"
    NEVER_TRIED = "never tried"


class Gate(NamedTuple):
    """What the newest gate said of a student.

    Attributes:
        reason: Of its verdict, in words.
        incumbent: The student that it was compared with; None is the small model as declared.
        quality: Share of good answers on the fresh sample, None where nothing was labelled.
        difference: Its quality less the incumbent's on the fresh sample; each end alone holds with 95 %.
    """

    artifact: str
    at: datetime
    passed: bool
    reason: str
    incumbent: str | None
    quality: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """One student.

    Attributes:
        dataset: The dataset that it was trained on, or None where none is named.
        exported_from: The student that it is another form of, or None.
        base: Of its manifest; likewise `variant`, `method` and `run`. Empty where that is corrupt.
        place: Where it is now, with why where a promotion took it back.
    """

    student: str
    made_at: datetime
    dataset: str | None
    exported_from: str | None
    base: str
    variant: str
    method: str
    run: str
    place: Place
    why: str
    share: float | None
    gate: Gate | None


def lineages(
    ledger: Ledger, task: str, students: Sequence[Student], history: Sequence[Promotion]
) -> list[Lineage]:
    """Where the students of a task come from, in their order.

    Args:
        ledger: Where datasets and gates are.
        task: Name of the task.
        students: All of its students.
        history: Its promotions, oldest first.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    datasets, gates = _datasets(ledger, task), _gates(ledger, task)
    return [_lineage(one, students, datasets, history, gates.get(one.artifact.id)) for one in students]


def _lineage(
    student: Student,
    students: Sequence[Student],
    datasets: Collection[str],
    history: Sequence[Promotion],
    gate: Gate | None,
) -> Lineage:
    made, manifest = student.artifact, student.manifest
    ids = {one.artifact.id: one.artifact for one in students}
    place, why, share = _place(made.id, history, gate)
    return Lineage(
        student=made.id,
        made_at=made.at,
        dataset=_dataset(made.id, {name: one.parents for name, one in ids.items()}, datasets),
        exported_from=next((parent for parent in made.parents if parent in ids), None),
        base=manifest.base if manifest else "",
        variant=manifest.variant if manifest else "",
        method=manifest.method if manifest else "",
        run=manifest.run if manifest else "",
        place=place,
        why=why,
        share=share,
        gate=gate,
    )


def _dataset(student: str, parents: Mapping[str, tuple[str, ...]], datasets: Collection[str]) -> str | None:
    """The dataset among its parents, or among those of the student it was exported from."""
    seen: set[str] = set()
    line = [student]
    while line:
        name = line.pop()
        if name in datasets:
            return name
        line += [parent for parent in parents.get(name, ()) if parent not in seen]
        seen.add(name)
    return None


def _place(student: str, history: Sequence[Promotion], gate: Gate | None) -> tuple[Place, str, float | None]:
    current = history[-1] if history else None
    if current is not None and current.student == student:
        return Place.IN_SERVICE, "", None
    if current is not None and current.candidate == student:
        share = current.candidate_share
        return (Place.CANARY, "", share) if share else (Place.SHADOW, "", None)
    left = _last_of(student, history)
    if left is not None:
        back = ROLLBACK_OF in left.evidence
        return (Place.ROLLED_BACK, left.reason, None) if back else (Place.SUCCEEDED, left.reason, None)
    if gate is not None and not gate.passed:
        return Place.STOPPED, gate.reason, None
    return Place.NEVER_TRIED, "", None


def _last_of(student: str, history: Sequence[Promotion]) -> Promotion | None:
    """The promotion that ended a student's last time in service or on trial."""
    ended = None
    for before, after in pairwise(history):
        if student in (before.student, before.candidate) and student not in (after.student, after.candidate):
            ended = after
    return ended


def _datasets(ledger: Ledger, task: str) -> frozenset[str]:
    table = schema.artifacts
    query = select(table.c.id).where((table.c.kind == DATASET) & (table.c.task == task))
    return frozenset(row.id for row in ledger.rows(query))


def _gates(ledger: Ledger, task: str) -> dict[str, Gate]:
    """The newest gate of each student; one that cannot be read is as good as none."""
    table = schema.artifacts
    columns = (table.c.id, table.c.at, table.c.summary)
    query = select(*columns).where((table.c.kind == GATE) & (table.c.task == task)).order_by(table.c.at)
    gates = {}
    for row in ledger.rows(query):
        with suppress(ValueError, KeyError, TypeError):  # it is of another version
            verdict = from_values(row.summary)
            gates[verdict.candidate] = _gate(row, verdict)
    return gates


def _gate(row: Any, verdict: Verdict) -> Gate:
    sample = next((one for one in verdict.criteria if one.name == SAMPLE), None)
    difference = None
    if sample is not None and sample.estimate is not None:
        low = -1.0 if sample.low is None else sample.low
        difference = Estimate(sample.estimate, low, 1.0 if sample.high is None else sample.high, sample.n)
    return Gate(
        artifact=row.id,
        at=row.at,
        passed=verdict.passed,
        reason=verdict.reason,
        incumbent=verdict.incumbent,
        quality=_estimate(row.summary.get("quality")),
        difference=difference,
    )


def _estimate(ends: Any) -> Estimate | None:
    known = isinstance(ends, list) and len(ends) == len(Estimate._fields) and None not in ends
    return Estimate(*ends) if known else None
