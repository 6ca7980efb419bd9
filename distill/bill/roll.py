"""All students of a task, each with where it comes from and its bill, from one reading of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from distill.bill.build import bills_of, unclaimed
from distill.bill.lineage import Lineage, lineages
from distill.bill.material import read_material
from distill.bill.tree import Cost, StudentBill
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """One student."""

    lineage: Lineage
    bill: StudentBill


@dataclass(frozen=True, slots=True)
class Roll:
    """All of them, the oldest first.

    Attributes:
        unclaimed: Hours of machines that are on no student's bill: of trainings that made none.
    """

    task: str
    at: datetime
    students: tuple[Entry, ...]
    unclaimed: Cost


def roll(ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None) -> Roll:
    """The students of a task.

    Args:
        ledger: Where it was all written down.
        settings: For prices.
        task: Name of the task.
        at: The present; None is now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    material, present = read_material(ledger, settings, task), at or now()
    lines = lineages(ledger, task, material.students, material.history)
    bills = bills_of(material, present)
    entries = tuple(Entry(line, bill) for line, bill in zip(lines, bills, strict=True))
    return Roll(task, present, entries, unclaimed(material))
