"""Checks of structured answers: JSON, and SQL by what it returns."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from typing import Any, ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, graded, judged
from evals.checks.text import unfenced
from stepdown.errors import CheckError


def _reference_json(subject: Subject) -> Any:
    reference = subject.reference
    if not isinstance(reference, str):
        return reference
    try:
        return json.loads(reference)
    except ValueError as error:
        raise CheckError(f"reference {reference[:200]!r} is not JSON: {error}") from error


class Json(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer is valid JSON and, where there is a reference object, its fields are equal.

    The score is the share of the reference's fields that are right; the verdict is good only where
    all are.

    Attributes:
        fields: Fields to compare; None compares all of the reference and allows no other field.
        ignore_case: Compare strings without regard to case.
        tolerance: Largest relative difference between numbers that still counts as equal.
        required: Fields that must be present where there is no reference.
    """

    version: ClassVar[str] = "1"
    fields: tuple[str, ...] | None = None
    ignore_case: bool = True
    tolerance: float = 0.0
    required: tuple[str, ...] = ()

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return self.fields is not None

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        try:
            got = json.loads(unfenced(subject.text))
        except ValueError as error:
            return judged(False, f"not JSON: {error}")
        wanted = _reference_json(subject)
        if wanted is None:
            missing = [f for f in self.required if not isinstance(got, dict) or f not in got]
            return judged(not missing, f"valid JSON, missing fields {missing!r}")
        if not isinstance(wanted, dict):
            return judged(self._equal(got, wanted), f"got {got!r}, wanted {wanted!r}")
        return self._compared(got, wanted)

    def _compared(self, got: Any, wanted: dict[str, Any]) -> Outcome:
        if not isinstance(got, dict):
            return judged(False, f"got {type(got).__name__}, wanted an object")
        names = self.fields if self.fields is not None else tuple(wanted)
        if unknown := set(names) - set(wanted):
            raise CheckError(f"reference has no field {sorted(unknown)!r}; it has {', '.join(wanted)}")
        wrong = [n for n in names if n not in got or not self._equal(got[n], wanted[n])]
        if self.fields is None:
            wrong += sorted(set(got) - set(wanted))
        score = max(0.0, 1 - len(wrong) / len(names)) if names else 1.0
        return graded(score, f"wrong fields {wrong!r}" if wrong else "all fields equal")

    def _equal(self, got: Any, wanted: Any) -> bool:
        if isinstance(wanted, bool) or isinstance(got, bool):
            return got is wanted
        if isinstance(wanted, int | float) and isinstance(got, int | float):
            return math.isclose(got, wanted, rel_tol=self.tolerance, abs_tol=1e-9)
        if isinstance(wanted, str) and isinstance(got, str) and self.ignore_case:
            return got.strip().casefold() == wanted.strip().casefold()
        if isinstance(wanted, list) and isinstance(got, list):
            return len(got) == len(wanted) and all(map(self._equal, got, wanted))
        if isinstance(wanted, dict) and isinstance(got, dict):
            return got.keys() == wanted.keys() and all(self._equal(got[k], wanted[k]) for k in wanted)
        return bool(got == wanted)


class SqlReference(msgspec.Struct, frozen=True):
    """Reference of the `sql` check: statements that make the database, and a right query."""

    setup: str
    query: str


class Sql(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered query returns what the reference query returns, on a database in memory.

    The query runs under SQLite's authorizer, which allows reading tables and calling functions and
    nothing else (no ATTACH, no PRAGMA, no writes, no extensions), with a limit on its steps.

    Attributes:
        max_steps: Virtual-machine instructions after which a query is stopped.
        max_rows: Rows after which a result is cut, which is a wrong answer.
    """

    version: ClassVar[str] = "1"
    max_steps: int = 2_000_000
    max_rows: int = 10_000

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        try:
            reference = msgspec.convert(_reference_json(subject), SqlReference)
            wanted = self._rows(reference.setup, reference.query)
        except (msgspec.ValidationError, sqlite3.Error) as error:
            raise CheckError(f"reference is not {{setup, query}} that SQLite can run: {error}") from error
        try:
            got = self._rows(reference.setup, unfenced(subject.text))
        except (sqlite3.Error, sqlite3.Warning) as error:
            return judged(False, f"query failed: {error}")
        if " order by " in f" {reference.query.lower()} ":
            return judged(got == wanted, f"{len(got)} rows, wanted {len(wanted)} in order")
        return judged(Counter(got) == Counter(wanted), f"{len(got)} rows, wanted {len(wanted)}")

    def _rows(self, setup: str, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(":memory:")
        try:
            connection.executescript(setup)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
            connection.set_authorizer(_read_only)
            connection.set_progress_handler(lambda: 1, self.max_steps)
            rows = connection.execute(query).fetchmany(self.max_rows + 1)
        finally:
            connection.close()
        if len(rows) > self.max_rows:
            raise sqlite3.OperationalError(f"more than {self.max_rows} rows")
        return rows


def _read_only(action: int, *_: Any) -> int:
    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
