"""Makes a student's artifact of a run that is done, and finds it again.

Invariant: the same run with the same files is the same artifact, so keeping it twice changes nothing; one
whose files are gone or changed is not found, and the run is done anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from distill.training.adapter import check_adapter
from distill.training.files import CHECKPOINTS, PROGRESS, RESULT, RESULTS
from distill.training.journal import curve, stretches
from distill.training.plan import Plan
from stepdown.errors import TrainingError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import Settings
from stepdown.students import STUDENT, Manifest, Store, Variant, files_of, manifest_of

DIGITS = 24
VARIANTS: dict[str, Variant] = {"lora": "adapter", "full": "merged"}


def folder_of(settings: Settings, plan: Plan) -> Path:
    """The folder of a run."""
    return settings.students_folder / plan.run[:DIGITS]


def registered(ledger: Ledger, plan: Plan) -> Artifact | None:
    """The student that a run made, if it did; nothing is said of its files.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    table = schema.artifacts
    of_task = select(table.c.id, table.c.settings, table.c.parents).where(
        (table.c.kind == STUDENT) & (table.c.task == plan.task)
    )
    for row in ledger.rows(of_task.order_by(table.c.at.desc())):
        if row.settings.get("run") == plan.run and list(row.parents) == [plan.dataset]:
            found = Registry(ledger).artifact(row.id)
            if manifest_of(found).variant == VARIANTS[plan.method]:
                return found
    return None


def complaint(settings: Settings, student: Artifact) -> str | None:
    """What is wrong with a student's files, or None."""
    return Store(settings.students_folder).complaint(manifest_of(student))


def forget(folder: Path) -> None:
    """Remove what a run made, so that it is done anew."""
    (folder / RESULT).unlink(missing_ok=True)
    for name in (*RESULTS.values(), CHECKPOINTS):
        shutil.rmtree(folder / name, ignore_errors=True)


def keep(ledger: Ledger, plan: Plan, folder: Path, base: Path) -> Artifact:
    """Register what a run made.

    Args:
        ledger: Where to.
        plan: Of the run.
        folder: Of the run.
        base: Folder of the checkpoint that it was trained from.

    Raises:
        TrainingError: The run left nothing.
        ServingError: What it left is not what it should be.
    """
    made = folder / RESULTS[plan.method]
    try:
        result: dict[str, Any] = msgspec.json.decode((folder / RESULT).read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise TrainingError(f"run {plan.run[:DIGITS]} left no result: {error}; train again") from error
    manifest = Manifest(
        base=plan.base,
        base_hash=plan.base_hash,
        variant=VARIANTS[plan.method],
        method=plan.method,
        rank=plan.rank,
        folder=f"{folder.name}/{made.name}",
        files=files_of(made),
        run=plan.run,
    )
    if plan.method == "lora":
        check_adapter(made, manifest, base)
    registry = Registry(ledger)
    kept = registry.keep(
        STUDENT,
        plan.task,
        manifest.to_bytes(),
        parents=(plan.dataset,),
        settings={**plan.to_json(), "run": plan.run},
        summary={**result, **_measured(folder, result), "curve": curve(folder / PROGRESS)},
    )
    return registry.artifact(kept.id)


def _measured(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """What the run took in all its stretches."""
    lives = stretches(folder / PROGRESS)
    tokens, training_s = sum(life.tokens for life in lives), sum(life.training_s for life in lives)
    return {
        "tokens": round(result["epoch_tokens"] * result["epochs"]),
        "seconds": sum(life.seconds for life in lives),
        "stretches": len(lives),
        "tokens_per_s": tokens / training_s if tokens and training_s > 0 else None,
    }
