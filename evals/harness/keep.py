"""Keeps evaluations in the ledger as artifacts, and finds them again.

Invariant: an evaluation that is the same as the newest one of its suite is not kept again; one that is the
same as an older one is, so that the newest is always what was found last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from evals.harness.form import Evaluation, from_json, to_json
from stepdown import __version__
from stepdown.errors import SuiteError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry

KIND = "eval"
NEWEST, PREVIOUS = "newest", "previous"
LEAST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """An evaluation in the ledger, without its content.

    Attributes:
        summary: Suite, purpose and baseline; each column's identity, quality, cost and failures.
    """

    id: str
    task: str
    at: datetime
    summary: Mapping[str, Any]


def keep_evaluation(ledger: Ledger, evaluation: Evaluation) -> Artifact:
    """Keep an evaluation.

    Raises:
        LedgerError: The ledger refused.
    """
    registry, content = Registry(ledger), to_json(evaluation)
    wanted = {"suite_hash": evaluation.suite.hash, "purpose": evaluation.purpose}
    alike = [k for k in kept_evaluations(ledger, evaluation.task) if wanted.items() <= k.summary.items()]
    newest = registry.artifact(alike[0].id) if alike else None
    if newest is not None and newest.content == content:
        return newest
    return registry.keep(
        KIND,
        evaluation.task,
        content,
        parents=(evaluation.suite.hash,),
        settings={"code_version": __version__, "after": newest.id if newest else None},
        summary=_summary(evaluation),
    )


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "suite": evaluation.suite.name,
        "suite_hash": evaluation.suite.hash,
        "purpose": evaluation.purpose,
        "baseline": evaluation.baseline,
        "cases": evaluation.suite.cases,
        "columns": {
            column.name: {
                "kind": column.kind,
                "identity": column.identity,
                "incomplete": column.incomplete,
                "quality": [column.quality.value, column.quality.low, column.quality.high, column.quality.n],
                "cost_per_1000_usd_micros": column.cost_per_1000_usd_micros.value,
                "failed": column.failed,
                "unscored": column.unscored,
            }
            for column in evaluation.columns
        },
    }


def kept_evaluations(ledger: Ledger, task: str | None = None) -> list[Kept]:
    """All evaluations of a task, or of every task; the newest first."""
    table = schema.artifacts
    query = select(table.c.id, table.c.task, table.c.at, table.c.summary).where(table.c.kind == KIND)
    if task is not None:
        query = query.where(table.c.task == task)
    return [
        Kept(row.id, row.task, row.at, row.summary)
        for row in ledger.rows(query.order_by(table.c.at.desc(), table.c.id))
    ]


def has_run(kept: Sequence[Kept], suite_hash: str, identity: str) -> bool:
    """Whether a model has run a suite to its end."""
    return any(
        column["identity"] == identity and column["kind"] == "model" and not column["incomplete"]
        for one in kept
        if one.summary["suite_hash"] == suite_hash
        for column in one.summary["columns"].values()
    )


def find_evaluation(ledger: Ledger | None, name: str, task: str | None = None) -> Evaluation:
    """The evaluation that a name stands for.

    Args:
        ledger: Where evaluations are kept; None looks for files alone.
        name: A JSON file, the beginning of an id, `newest`, or `previous`: the one before the newest,
            of the same suite and purpose.
        task: Only evaluations of this task; None takes those of all.

    Raises:
        SuiteError: There is none, or more than one; or a file is no evaluation.
    """
    if ledger is None or name.endswith(".json"):
        return _from_file(Path(name))
    kept = kept_evaluations(ledger, task)
    found = _named(kept, name)
    return from_json(Registry(ledger).artifact(found.id).content, f"evaluation {found.id[:12]}")


def _from_file(path: Path) -> Evaluation:
    try:
        return from_json(path.read_bytes(), f"file {str(path)!r}")
    except OSError as error:
        raise SuiteError(f"evaluation {str(path)!r} cannot be read: {error.strerror}") from error


def _named(kept: Sequence[Kept], name: str) -> Kept:
    if name in (NEWEST, PREVIOUS):
        wanted = kept[:1] if name == NEWEST else _before_the_newest(kept)
        if not wanted:
            raise SuiteError(f"there is no {name} evaluation; `stepdown eval run SUITE` makes one")
        return wanted[0]
    found = [one for one in kept if len(name) >= LEAST_DIGITS and one.id.startswith(name)]
    if len(found) != 1:
        count = "no evaluation" if not found else f"{len(found)} evaluations"
        raise SuiteError(f"{count} under {name!r}; `stepdown eval list` shows their ids")
    return found[0]


def _before_the_newest(kept: Sequence[Kept]) -> Sequence[Kept]:
    alike = ("suite", "purpose")
    return [one for one in kept[1:] if all(one.summary[k] == kept[0].summary[k] for k in alike)]
