"""Checks of structured answers: JSON, and SQL by what it returns."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections import Counter
from typing import Any, ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, graded, judged
from evals.checks.text import unfenced
from stepdown.errors import CheckError

# What SQLite's driver raises for text that is not one query: ValueError for a null or half a character.
UNUSABLE = (sqlite3.Error, sqlite3.Warning, ValueError)


def _reference_json(subject: Subject) -> Any:
    reference = subject.reference
    if not isinstance(reference, str):
        return reference
    try:
        return json.loads(reference)
    except ValueError as error:
        raise CheckError(f"reference {reference[:200]!r} is not JSON: {error}") from error


def _answered_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(unfenced(text))


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
            got = _answered_json(subject.text)
        except (ValueError, RecursionError) as error:
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
        score = max(0.0, 1 - len(wrong) / len(names)) if names else float(not wrong)
        return graded(score, f"wrong fields {wrong!r}" if wrong else "all fields equal")

    def _equal(self, got: Any, wanted: Any) -> bool:
        if isinstance(wanted, bool) or isinstance(got, bool):
            return got is wanted
        if isinstance(wanted, int | float) and isinstance(got, int | float):
            return got == wanted or _close(got, wanted, self.tolerance)
        if isinstance(wanted, str) and isinstance(got, str) and self.ignore_case:
            return got.strip().casefold() == wanted.strip().casefold()
        if isinstance(wanted, list) and isinstance(got, list):
            return len(got) == len(wanted) and all(map(self._equal, got, wanted))
        if isinstance(wanted, dict) and isinstance(got, dict):
            return got.keys() == wanted.keys() and all(self._equal(got[k], wanted[k]) for k in wanted)
        return bool(got == wanted)


def _close(got: float, wanted: float, tolerance: float) -> bool:
    try:
        return math.isclose(got, wanted, rel_tol=tolerance, abs_tol=1e-9)
    except OverflowError:  # an integer beyond all floats
        return False


class SqlReference(msgspec.Struct, frozen=True):
    """Reference of the `sql` check: statements that make the database, and a right query."""

    setup: str
    query: str


class Sql(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered query returns what the reference query returns, on a database in memory.

    The query runs under SQLite's authorizer, which allows reading tables and calling functions and
    nothing else (no ATTACH, no PRAGMA, no writes, no extensions), with a limit on its steps. The
    reference comes from outside too: its setup may write to its own database and to nothing else. Rows
    must come in order where the reference query ends in an ORDER BY of its own.

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
        except (msgspec.ValidationError, *UNUSABLE) as error:
            raise CheckError(f"reference is not {{setup, query}} that SQLite can run: {error}") from error
        try:
            got = self._rows(reference.setup, unfenced(subject.text))
        except UNUSABLE as error:
            return judged(False, f"query failed: {error}")
        if _ordered(reference.query):
            return judged(got == wanted, f"{len(got)} rows, wanted {len(wanted)} in order")
        return judged(Counter(got) == Counter(wanted), f"{len(got)} rows, wanted {len(wanted)}")

    def _rows(self, setup: str, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(":memory:")
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
            connection.set_progress_handler(lambda: 1, self.max_steps)
            connection.set_authorizer(_own_database)
            connection.executescript(setup)
            connection.set_authorizer(_read_only)
            cursor = connection.execute(query)
            if cursor.description is None:
                raise sqlite3.ProgrammingError("it is no query")
            rows = cursor.fetchmany(self.max_rows + 1)
        finally:
            connection.close()
        if len(rows) > self.max_rows:
            raise sqlite3.OperationalError(f"more than {self.max_rows} rows")
        return rows


def _ordered(query: str) -> bool:
    """Whether a query has an ORDER BY outside of all parentheses."""
    outer, depth = [], 0
    for character in query:
        depth += (character == "(") - (character == ")")
        outer.append(character if depth == 0 else " ")
    return re.search(r"(?i)\border\s+by\b", "".join(outer)) is not None


def _own_database(action: int, *_: Any) -> int:
    outside = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
    return sqlite3.SQLITE_DENY if action in outside else sqlite3.SQLITE_OK


def _read_only(action: int, *_: Any) -> int:
    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
