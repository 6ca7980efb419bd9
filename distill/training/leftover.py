"""What trainings left in the folders of runs that nobody takes up again.

Invariant: a run that is being trained is left alone, and one that may be taken up keeps its checkpoints; of
any other one nothing stays that users wrote or that only a training reads, and the time that it took is on
its task's bill. What a run made is never touched: servers may have it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
from pathlib import Path

from distill.dataset.kept import DATASET
from distill.training.files import CHECKPOINTS, LOCK, PARTIAL, PARTS, PLAN, PROGRESS, RESULT
from distill.training.journal import account
from distill.training.plan import Plan
from distill.training.prepare import remove_parts
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import Settings

FOR_TRAINING = (CHECKPOINTS, PARTIAL)

log = logging.getLogger(__name__)


def tidy(ledger: Ledger, settings: Settings, wanted: str) -> None:
    """Remove what other trainings left on the disk, and put the time of killed ones on the bill.

    A run is not taken up again once it is done, or once its task has a newer dataset: what is trained then
    is another run.

    Args:
        ledger: Where the datasets and the bill are.
        settings: All settings.
        wanted: Artifact id of the dataset that is to be trained on now, which may be an old one.

    Raises:
        LedgerError: The ledger refused.
    """
    for folder in sorted(plan.parent for plan in settings.students_folder.glob(f"*/{PLAN}")):
        try:
            if _has_leftovers(folder):
                _tidy(ledger, settings, folder, wanted)
        except OSError as error:
            log.warning("what run %s left in %s cannot be removed: %s", folder.name, folder, error)


def _has_leftovers(folder: Path) -> bool:
    examples = (f"{part}.jsonl" for part in PARTS)
    return any((folder / name).exists() for name in (*examples, *FOR_TRAINING))


def _tidy(ledger: Ledger, settings: Settings, folder: Path, wanted: str) -> None:
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        plan = _plan_in(folder)
        if plan is not None:
            account(ledger, plan.task, plan.run, folder / PROGRESS, settings.trainer.usd_per_hour)
        remove_parts(folder)
        if plan is not None and ((folder / RESULT).is_file() or _is_abandoned(ledger, plan, wanted)):
            for name in FOR_TRAINING:
                if (folder / name).exists():
                    shutil.rmtree(folder / name)


def _plan_in(folder: Path) -> Plan | None:
    """The plan of a run; None where it is one of another version, of which nothing can be told."""
    try:
        return Plan.of_json(json.loads((folder / PLAN).read_bytes()))
    except (ValueError, KeyError, TypeError):
        return None


def _is_abandoned(ledger: Ledger, plan: Plan, wanted: str) -> bool:
    newest = Registry(ledger).newest(DATASET, plan.task)
    return newest is not None and plan.dataset not in (newest.id, wanted)
