"""What a killed worker left in the folders of runs that nobody takes up again.

Invariant: a run that is being trained is left alone; of any other one nothing stays that users wrote, and
the time that it took is on its task's bill.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
from pathlib import Path

from distill.training.files import LOCK, PARTS, PLAN, PROGRESS
from distill.training.journal import account
from distill.training.plan import Plan
from distill.training.prepare import remove_parts
from stepdown.ledger import Ledger
from stepdown.settings import Settings

log = logging.getLogger(__name__)


def tidy(ledger: Ledger, settings: Settings) -> None:
    """Remove the examples that killed trainings left on the disk, and put their time on the bill.

    Raises:
        LedgerError: The ledger refused.
    """
    for folder in sorted({file.parent for part in PARTS for file in _left(settings, part)}):
        try:
            _tidy(ledger, settings, folder)
        except OSError as error:
            log.warning("examples of run %s cannot be removed from %s: %s", folder.name, folder, error)


def _left(settings: Settings, part: str) -> list[Path]:
    return list(settings.students_folder.glob(f"*/{part}.jsonl"))


def _tidy(ledger: Ledger, settings: Settings, folder: Path) -> None:
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):  # torn: then there is no stretch either
            plan = Plan.of_json(json.loads((folder / PLAN).read_bytes()))
            account(ledger, plan.task, plan.run, folder / PROGRESS, settings.trainer.usd_per_hour)
        remove_parts(folder)
