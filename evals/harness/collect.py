"""Suites that grow case by case, as people meet prompts that are worth keeping.

Invariant: a prompt is in such a suite once; and the files are at any time a suite that `stepdown eval run`
takes, since a case is tried as part of it before it is added. What a person changed in the TOML file stays.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from evals.harness.load import Reading, load_suite
from evals.harness.toml import toml_value
from router.prompt import prompt_hash
from router.wire import parse_chat
from stepdown.errors import SuiteError
from stepdown.settings import TaskSettings

FOLDER = "suites"  # within `home`


@dataclass(frozen=True, slots=True)
class Collected:
    """What a case was added to.

    Attributes:
        file: The suite's TOML file.
        id: Of the case: the hash of its prompt, so that a training set can leave it out.
        cases: Cases in the suite now.
    """

    file: Path
    id: str
    cases: int


def add_case(
    folder: Path, name: str, task_name: str, task: TaskSettings, fields: Mapping[str, Any], **scored: Any
) -> Collected:
    """Add a case to the suite of this name, which is made where there is none.

    Args:
        folder: Where such suites are.
        name: Of the suite.
        task_name: Whose checks and judges score it.
        task: Its settings.
        fields: The chat request's fields but `model`.
        **scored: `reference`, `check` and `slice`; None is absent.

    Raises:
        SuiteError: The prompt is in the suite already, nothing can score it, or a file cannot be used.
        BadRequest: The fields are no chat request.
    """
    file = folder / f"{quote(name, safe='')}.toml"
    cases = file.with_suffix(".jsonl")
    key = prompt_hash(parse_chat(msgspec.json.encode({**fields, "model": "-"})).prompt)
    case = {"id": key, **fields, **{name: value for name, value in scored.items() if value is not None}}
    reading = Reading(tasks={task_name: task}, task=task_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            before = cases.read_bytes() if cases.exists() else b""
            if before.strip():
                _refuse_known(file, key, reading)
            toml = file.read_text() if file.exists() else _toml(name, cases.name, task_name, task)
            whole = (
                before
                + (b"" if before.endswith(b"\n") or not before else b"\n")
                + msgspec.json.encode(case)
                + b"\n"
            )
            found = _put(file, toml, cases.name, whole, reading)
    except OSError as error:
        raise SuiteError(f"suite {str(file)!r} cannot be written: {error.strerror}") from error
    return Collected(file, key, found)


def _refuse_known(file: Path, key: str, reading: Reading) -> None:
    for case in load_suite(file, reading).cases:
        if case.prompt_hash == key:
            raise SuiteError(
                f"this prompt is a case of {str(file)!r} already (line {case.line}); nothing was changed. "
                "Case and white space do not count"
            )


def _put(file: Path, toml: str, cases_name: str, cases: bytes, reading: Reading) -> int:
    """Try the files beside their place, and move them there; gives the number of cases."""
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".try-") as place:
        tried = Path(place) / file.name
        tried.write_text(toml)
        (tried.parent / cases_name).write_bytes(cases)
        suite = load_suite(tried, reading)
        (tried.parent / cases_name).replace(file.parent / cases_name)
        if not file.exists():
            tried.replace(file)
    return len(suite.cases)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep others from adding at the same time."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _toml(name: str, cases: str, task_name: str, task: TaskSettings) -> str:
    head = {
        "name": name,
        "description": f"Prompts of task {task_name} that people kept, case by case.",
        "task": task_name,
        "cases": cases,
        "baseline": task.strong,
        "judge": next(iter(task.judges)) if len(task.judges) > 1 else None,  # a sole one need not be named
    }
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in head.items() if value is not None)
