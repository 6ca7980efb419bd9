"""Keeps the bills of a task's students for those who only show them: they take a reading of the whole ledger.

Invariant: what is read back is what was kept, or nothing.
"""

from __future__ import annotations

import msgspec

from distill.bill.roll import Roll, roll
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from stepdown.summaries import Summaries

STUDENTS = "students"


def keep_roll(ledger: Ledger, settings: Settings, task: str) -> Roll:
    """Reckon the bills of a task's students, and keep them.

    Raises:
        LedgerError: The ledger refused.
    """
    found = roll(ledger, settings, task)
    Summaries(ledger).keep(task, STUDENTS, msgspec.json.encode(found))
    return found


def kept_roll(ledger: Ledger, task: str) -> Roll | None:
    """The bills that were kept last, `Roll.at` says when; None where none were, or by another version.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    kept = Summaries(ledger).read(task, STUDENTS, Roll)
    return kept.document if kept else None
