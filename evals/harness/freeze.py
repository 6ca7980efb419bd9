"""Freezes a sample of a task's traffic as a suite of files.

Invariant: the same ledger, sampling and seed give the same files, byte for byte; and each distinct prompt is
in it once, under its hash, so that a later training set can leave it out. Who asked is not in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Row, and_, func, select

from evals.harness.load import Reading, load_suite
from evals.harness.suite import CHAT_FIELDS
from evals.harness.toml import toml_key, toml_value
from router.wire import parse_chat
from stepdown.errors import BadRequest, LedgerError, SuiteError
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings

SUITE_FILE, CASES_FILE = "suite.toml", "cases.jsonl"

SliceOf = Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which prompts to take.

    Attributes:
        kind: Only requests of this slice; None takes all.
        size: Prompts at most.
        seed: Of the draw.
        since: Only requests that came then or later; None takes all.
    """

    kind: str | None = None
    size: int = 500
    seed: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was frozen.

    Attributes:
        file: The suite's TOML file.
        cases: Cases in it, drawn from so many distinct `prompts`.
        left_out: Prompts that could not be used, by the reason.
    """

    file: Path
    cases: int
    prompts: int
    cases_hash: str
    left_out: Mapping[str, int]


def freeze_suite(
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    sampling: Sampling,
    folder: Path,
    *,
    slice_of: SliceOf = None,
) -> Frozen:
    """Write a sample of a task's traffic as `suite.toml` and `cases.jsonl` in a folder.

    Args:
        ledger: Where the traffic is.
        task_name: The task.
        task: Its settings, whose checks and judges go into the suite.
        sampling: Which prompts to take.
        folder: Made where it is not there; must hold no suite yet.
        slice_of: Slice of a request by its id; None takes the requests' own tags.

    Raises:
        SuiteError: The folder holds a suite, or the task has no traffic that can be used.
        LedgerError: The ledger cannot be read.
    """
    if (folder / SUITE_FILE).exists():
        raise SuiteError(f"folder {str(folder)!r} holds a suite already; name another folder")
    rows = [row for row in _prompts(ledger, task_name, sampling) if _wanted(row, sampling, slice_of)]
    left_out: Counter[str] = Counter()
    cases = list(_cases(ledger, task, _ranked(rows, sampling.seed), sampling.size, slice_of, left_out))
    if not cases:
        reasons = "; ".join(f"{count} {why}" for why, count in left_out.items()) or _unmet(sampling)
        raise SuiteError(f"task {task_name!r} has no traffic to freeze: {reasons}")
    return _write(folder, task_name, task, sampling, cases, len(rows), left_out)


def _unmet(sampling: Sampling) -> str:
    kind = f" slice {sampling.kind!r}" if sampling.kind is not None else ""
    since = f" since {sampling.since:%Y-%m-%d %H:%M} UTC" if sampling.since else ""
    listed = "; `stepdown slices` lists slices, `--by tag` those that callers sent" if kind else ""
    return f"no request fits{kind}{since}{listed}"


def _prompts(ledger: Ledger, task_name: str, sampling: Sampling) -> Sequence[Row[Any]]:
    """One request for each distinct prompt: the first that brought a reference, or else the first."""
    r, a = schema.requests, schema.answers
    joined = r.outerjoin(a, and_(a.c.task == r.c.task, a.c.prompt_hash == r.c.prompt_hash))
    reference = func.coalesce(r.c.reference, a.c.reference)
    query = (
        select(
            r.c.id,
            r.c.prompt_hash,
            r.c.body,
            r.c.slice,
            reference.label("reference"),
            func.coalesce(r.c.check, a.c.check).label("check"),
        )
        .select_from(joined)
        .where(r.c.task == task_name, *([r.c.at >= sampling.since] if sampling.since else []))
        .order_by(r.c.prompt_hash, reference.is_(None), r.c.at, r.c.id)
    )
    first: dict[str, Row[Any]] = {}
    for row in ledger.rows(query):
        first.setdefault(row.prompt_hash, row)
    return list(first.values())


def _wanted(row: Row[Any], sampling: Sampling, slice_of: SliceOf) -> bool:
    return sampling.kind is None or _kind(row, slice_of) == sampling.kind


def _kind(row: Row[Any], slice_of: SliceOf) -> str | None:
    kind: str | None = row.slice if slice_of is None else slice_of.get(row.id)
    return kind


def _ranked(rows: Sequence[Row[Any]], seed: int) -> list[Row[Any]]:
    """The prompts in an order that depends on the seed and on each prompt alone."""
    return sorted(rows, key=lambda row: digest(f"{seed} {row.prompt_hash}".encode()))


def _cases(
    ledger: Ledger,
    task: TaskSettings,
    rows: Sequence[Row[Any]],
    size: int,
    slice_of: SliceOf,
    left_out: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Cases until there are enough; why prompts were left out is counted."""
    taken = 0
    for row in rows:
        if taken == size:
            return
        check = _scoring_check(task, row)
        if why := _unusable(task, check, row.reference):
            left_out[why] += 1
            continue
        fields = _fields(ledger, row.body)
        if fields is None:
            left_out["whose body is gone or cannot be read"] += 1
            continue
        taken += 1
        kept = {
            "id": row.prompt_hash,
            **fields,
            "reference": None if row.reference is None else json.loads(row.reference),
            "check": check,
            "slice": _kind(row, slice_of),
        }
        yield {name: value for name, value in kept.items() if value is not None}


def _scoring_check(task: TaskSettings, row: Row[Any]) -> str | None:
    """The check that applies; none where it lacks its reference and a judge labels, as in live traffic."""
    from evals.labelling import labellers

    name: str | None = row.check or task.check
    needing = {labeller.name for labeller in labellers(task) if labeller.needs_reference}
    return None if task.judges and row.reference is None and name in needing else name


def _unusable(task: TaskSettings, check: str | None, reference: str | None) -> str | None:
    from evals.labelling import labellers

    if check is None:
        return None if task.judges else "that name no check, where the task has no judge"
    known = {labeller.name: labeller for labeller in labellers(task)}
    if check not in known:
        return f"whose check {check!r} the task does not declare"
    if known[check].needs_reference and reference is None:
        return "without the reference that their check needs"
    return None


def _fields(ledger: Ledger, body: str) -> dict[str, Any] | None:
    """What was asked, without who asked: only the fields that shape an answer."""
    try:
        fields = parse_chat(ledger.body(body)).fields
    except (BadRequest, LedgerError):
        return None
    return {name: msgspec.json.decode(fields[name]) for name in CHAT_FIELDS if name in fields}


def _write(
    folder: Path,
    task_name: str,
    task: TaskSettings,
    sampling: Sampling,
    cases: Sequence[dict[str, Any]],
    prompts: int,
    left_out: Mapping[str, int],
) -> Frozen:
    folder.mkdir(parents=True, exist_ok=True)
    lines = sorted(cases, key=lambda case: str(case["id"]))
    written = b"".join(msgspec.json.encode(case) + b"\n" for case in lines)
    (folder / CASES_FILE).write_bytes(written)
    file = folder / SUITE_FILE
    file.write_text(suite_toml(task_name, task, sampling, None))
    try:
        found = load_suite(file, Reading(tasks={task_name: task}))
    except SuiteError:
        file.unlink()
        raise
    file.write_text(suite_toml(task_name, task, sampling, found.cases_hash))
    return Frozen(file, len(cases), prompts, found.cases_hash, left_out)


def suite_toml(task_name: str, task: TaskSettings, sampling: Sampling, cases_hash: str | None) -> str:
    """The TOML file of a frozen suite."""
    drawn = f"drawn with seed {sampling.seed}, at most {sampling.size}"
    kind = f" of slice {sampling.kind}" if sampling.kind else ""
    since = f" since {sampling.since.isoformat()}" if sampling.since else ""
    head = {
        "name": task_name if sampling.kind is None else f"{task_name}-{sampling.kind}",
        "description": f"Distinct prompts of task {task_name}{kind}{since}, {drawn}.",
        "task": task_name,
        "cases": CASES_FILE,
        "cases_hash": cases_hash,
        "baseline": task.strong,
        "judge": next(iter(task.judges)) if len(task.judges) > 1 else None,  # a sole one need not be named
    }
    lines = [f"{name} = {toml_value(value)}" for name, value in head.items() if value is not None]
    for name, settings in task.checks.items():
        lines += [
            "",
            f"[checks.{toml_key(name)}]",
            *(f"{toml_key(k)} = {toml_value(v)}" for k, v in settings.items()),
        ]
    for name, judge in task.judges.items():
        values = {k: v for k, v in msgspec.to_builtins(judge).items() if v is not None}
        lines += [
            "",
            f"[judges.{toml_key(name)}]",
            *(f"{toml_key(k)} = {toml_value(v)}" for k, v in values.items()),
        ]
    return "\n".join(lines) + "\n"
