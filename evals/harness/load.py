"""Reads suites: a TOML file beside its cases, or the cases alone.

Invariant: a suite is read whole or refused; lines that cannot be used are left out only where the caller
said so, and are then listed. What is unknown in a line is ignored, so that recordings and answer files are
cases too; what is unknown in the TOML file is an error, for it would be a misspelt setting.
"""

from __future__ import annotations

import gzip
import random
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from evals.checks import Check, build_check
from evals.harness.lines import LineFault, read_object, text_field
from evals.harness.suite import CHAT_FIELDS, BadLine, Case, Suite, case_key, hash_of_cases
from router.prompt import prompt_hash
from router.wire import parse_chat
from stepdown.errors import BadRequest, CheckError, SuiteError
from stepdown.settings import DEFAULT_TASK, JudgeSettings, TaskSettings

ID_DIGITS = 12
MOST_LISTED = 5


class SuiteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A suite's TOML file.

    Attributes:
        name: The file's own name where it is absent.
        task: The task whose questions they are; its checks and judges may be used as if declared here.
        cases: Path of the JSON lines, relative to the TOML file.
        cases_hash: Hash of the cases when they were frozen; others are refused.
        limit: Take so many cases, drawn by `seed`; all where it is absent.
        check: Check of the cases that name none.
        judge: Judge of the cases that no check scores.
        partial_credit: Count a check's score, where it gives one in parts; else only whether all is right.
        baseline: Alias of the model that the others are compared with.
    """

    cases: str
    name: str | None = None
    description: str = ""
    task: str | None = None
    cases_hash: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    seed: int = 0
    check: str | None = None
    judge: str | None = None
    partial_credit: bool = False
    baseline: str | None = None
    checks: dict[str, dict[str, Any]] = {}
    judges: dict[str, JudgeSettings] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the caller says of a suite beside its file; None leaves it to the file.

    Attributes:
        tasks: The declared tasks, whose checks and judges a suite may use.
        skip_bad_lines: Leave lines out that cannot be used, instead of refusing the suite.
    """

    tasks: Mapping[str, TaskSettings]
    task: str | None = None
    limit: int | None = None
    seed: int | None = None
    check: str | None = None
    skip_bad_lines: bool = False


def load_suite(path: Path, reading: Reading) -> Suite:
    """Read a suite from its TOML file, or from JSON lines (gzipped or not) alone.

    Raises:
        SuiteError: A file cannot be read, a setting is wrong, a line cannot be used, nothing scores a
            case, or frozen cases are not those that were frozen.
    """
    alone = path.suffix != ".toml"
    file = SuiteFile(cases=path.name) if alone else _suite_file(path)
    task_name = reading.task or file.task or DEFAULT_TASK
    task = reading.tasks.get(task_name, TaskSettings())
    check = reading.check or file.check or (task.check if not file.checks else None)
    declared = {**task.checks, **file.checks}
    judges = {**task.judges, **file.judges}
    judge = _judge(path, file.judge, judges)
    cases_path = path.parent / file.cases
    reader = _Reader(cases_path.name, declared, check, judge is not None)
    cases, bad = reader.read(_lines(cases_path))
    _refuse(path, cases_path, cases, bad, reading)
    if file.cases_hash is not None and not bad and hash_of_cases(cases) != file.cases_hash:
        raise SuiteError(
            f"suite {str(path)!r}: the cases are not those that were frozen; "
            "freeze them anew, or take cases_hash out of the file"
        )
    seed = file.seed if reading.seed is None else reading.seed
    return Suite(
        name=file.name or path.name.removesuffix(".gz").rpartition(".")[0],
        description=file.description,
        task=task_name,
        cases=drawn(cases, reading.limit or file.limit, seed),
        checks=reader.checks,
        judge=judge,
        partial_credit=file.partial_credit,
        baseline=file.baseline,
        scoring={"checks": declared, "judges": msgspec.to_builtins(judges)},
        bad_lines=bad,
    )


def drawn(cases: Sequence[Case], limit: int | None, seed: int) -> list[Case]:
    """So many of the cases, in their order; the same seed draws the same ones."""
    if limit is None or limit >= len(cases):
        return list(cases)
    ranked = sorted(cases, key=lambda case: (case.key, case.id))  # whatever order the file has
    chosen = {case.id for case in random.Random(seed).sample(ranked, limit)}
    return [case for case in cases if case.id in chosen]


def _suite_file(path: Path) -> SuiteFile:
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), SuiteFile)
    except OSError as error:
        raise SuiteError(f"suite {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise SuiteError(f"suite {str(path)!r}: {error}") from error


def _judge(
    path: Path, name: str | None, judges: Mapping[str, JudgeSettings]
) -> tuple[str, JudgeSettings] | None:
    """The judge that the file names, or the only one that there is."""
    if name is None:
        return next(iter(judges.items())) if len(judges) == 1 else None
    if name not in judges:
        known = ", ".join(judges) or "none"
        raise SuiteError(f"suite {str(path)!r}: judge {name!r} is not declared; declared: {known}")
    return name, judges[name]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, EOFError) as error:
        raise SuiteError(f"cases {str(path)!r} cannot be read: {error}") from error


def _refuse(
    path: Path, cases_path: Path, cases: Sequence[Case], bad: Sequence[BadLine], reading: Reading
) -> None:
    if bad and not reading.skip_bad_lines:
        shown = "".join(f"\n  {cases_path}:{line.line}: {line.why}" for line in bad[:MOST_LISTED])
        more = f"\n  and {len(bad) - MOST_LISTED} more" if len(bad) > MOST_LISTED else ""
        raise SuiteError(
            f"suite {str(path)!r}: {len(bad)} lines cannot be used; mend them, or go on without them with "
            f"--skip-bad-lines{shown}{more}"
        )
    if not cases:
        raise SuiteError(f"suite {str(path)!r} has no case that can be used; see {str(cases_path)!r}")


class _Reader:
    """Turns lines into cases.

    Attributes:
        checks: The checks that the cases name.
    """

    def __init__(
        self, file: str, declared: Mapping[str, Mapping[str, Any]], check: str | None, judged: bool
    ) -> None:
        self.checks: dict[str, Check] = {}
        self._file = file
        self._declared = declared
        self._check = check
        self._judged = judged
        self._ids: set[str] = set()
        self._seen: Counter[str] = Counter()

    def read(self, lines: Iterator[tuple[int, bytes]]) -> tuple[list[Case], list[BadLine]]:
        cases: list[Case] = []
        bad: list[BadLine] = []
        for number, line in lines:
            try:
                cases.append(self._case(number, read_object(line)))
            except (LineFault, SuiteError, CheckError, BadRequest) as error:
                bad.append(BadLine(number, str(error)))
        return cases, bad

    def _case(self, number: int, row: Mapping[str, Any]) -> Case:
        fields = {name: row[name] for name in CHAT_FIELDS if row.get(name) is not None}
        if isinstance(row.get("prompt"), str) and "messages" not in fields:
            fields["messages"] = [{"role": "user", "content": row["prompt"]}]
        if "messages" not in fields:
            raise SuiteError("neither `prompt` (text) nor chat `messages`")
        prompt = parse_chat(msgspec.json.encode({**fields, "model": "-"})).prompt
        reference, kind = row.get("reference"), text_field(row, "slice") or text_field(row, "group")
        check = self._check_of(text_field(row, "check"), reference)
        return Case(
            id=self._id(row.get("id"), case_key(fields, reference, check, kind)),
            line=number,
            fields=fields,
            prompt=prompt.text,
            prompt_hash=prompt_hash(prompt),
            reference=reference,
            check=check,
            slice=kind,
        )

    def _check_of(self, named: str | None, reference: Any) -> str | None:
        name = named or self._check
        if name is None:
            if not self._judged:
                raise SuiteError("nothing scores it: name its `check`, or the suite's `check` or `judge`")
            return None
        if name not in self._declared:
            known = ", ".join(self._declared) or "none"
            raise SuiteError(f"check {name!r} is not declared; declared: {known}")
        if name not in self.checks:
            self.checks[name] = build_check(name, self._declared[name], self._declared)
        if self.checks[name].needs_reference and reference is None:
            raise SuiteError(f"check {name!r} needs a `reference`, and there is none")
        return name

    def _id(self, given: Any, key: str) -> str:
        """The id of a case; one that is made up depends on its content alone, and on how often that came."""
        if given is None:
            made = key[:ID_DIGITS]
            self._seen[made] += 1
            name = made if self._seen[made] == 1 else f"{made}-{self._seen[made]}"
        elif isinstance(given, str | int) and 0 < len(str(given)) <= 200:
            name = str(given)
        else:
            raise SuiteError(f"id {given!r:.100} is not 1 to 200 characters of text, or a number")
        if name in self._ids:
            raise SuiteError(f"id {name!r} is taken by an earlier line")
        self._ids.add(name)
        return name
