"""Check of an answered SQL query by what it returns.

Invariant: a query reads the database that was made for it, in memory, and nothing else. SQLite's authorizer
allows it to read tables and call functions (no ATTACH, no PRAGMA, no writes, no extensions), and its steps
are counted.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.checks.tables import Statements, copy_backwards, fill, literals, statements_in
from evals.checks.text import unfenced
from stepdown.errors import CheckError
from stepdown.records import Verdict

# What SQLite's driver raises for text that is not one query: ValueError for a null or half a character.
UNUSABLE = (sqlite3.Error, sqlite3.Warning, ValueError)
OUTSIDE = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
TRIES = 4  # seeds tried for each database that is wanted
Row = tuple[Any, ...]
Make = Callable[[sqlite3.Connection], None]


class SqlReference(msgspec.Struct, frozen=True):
    """Reference of the `sql` check: a right query, and the statements that make the database.

    Without `setup`, these are taken from the prompt.
    """

    query: str
    setup: str | None = None


class Sql(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered query returns what the reference query returns, on databases in memory.

    The reference is `{setup, query}`, `{query}` or the query alone. Where it has no setup, the CREATE TABLE
    and INSERT statements of the prompt make the database. A table that the prompt does not fill gets seeded
    random rows of its columns' types, in several databases: two queries that agree on all of them are the
    same with high probability, though not for sure. That is test-suite accuracy (Zhong, Yu & Klein 2020,
    "Semantic Evaluation for Text-to-SQL with Distilled Test Suites", EMNLP), with random databases in place
    of distilled ones; as there, the literals of both queries are among the values. A database on which the
    reference returns nothing, or on which it depends on the order in which rows are stored, does not count.

    The reference comes from outside too: its setup may write to its own database and to nothing else. Rows
    must come in order where the reference query ends in an ORDER BY of its own.

    Attributes:
        max_steps: Virtual-machine instructions after which a query is stopped.
        max_rows: Rows after which a result is cut, which is a wrong answer.
        databases: Random databases on which the queries are compared.
        rows: Random rows in each table.
    """

    version: ClassVar[str] = "2"
    reads_prompt: ClassVar[bool] = True
    max_steps: int = 2_000_000
    max_rows: int = 10_000
    databases: int = 8
    rows: int = 30

    def __post_init__(self) -> None:
        if min(self.max_steps, self.max_rows, self.databases, self.rows) < 1:
            raise ValueError("max_steps, max_rows, databases and rows must each be at least 1")

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        reference, answer = _reference(subject.reference), unfenced(subject.text)
        if reference.setup is not None:
            return self._on_given(reference.setup, reference.query, answer)
        statements = statements_in(subject.prompt)
        if not statements.create:
            raise CheckError("the reference has no setup, and the prompt no CREATE TABLE statement")
        return self._on_prompt(statements, reference.query, answer)

    def _on_given(self, setup: str, query: str, answer: str) -> Outcome:
        def make(connection: sqlite3.Connection) -> None:
            connection.executescript(setup)

        try:
            wanted = self._rows(make, query)
        except UNUSABLE as error:
            raise CheckError(f"reference is not {{setup, query}} that SQLite can run: {error}") from error
        return self._compared(make, answer, wanted, _ordered(query))

    def _on_prompt(self, statements: Statements, query: str, answer: str) -> Outcome:
        values = literals(query) + literals(answer)
        try:
            databases = self._certain(statements, query, values)
        except UNUSABLE as error:
            raise CheckError(f"reference query does not run on the prompt's tables: {error}") from error
        for make, wanted, ordered in databases:
            outcome = self._compared(make, answer, wanted, ordered)
            if outcome.verdict is not Verdict.GOOD:
                return outcome
        return judged(True, f"the same rows on {len(databases)} databases")

    def _certain(
        self, statements: Statements, query: str, values: Sequence[str | float]
    ) -> list[tuple[Make, list[Row], bool]]:
        """Random databases on which the reference says something, what it says, and if its order counts."""
        certain: list[tuple[Make, list[Row], bool]] = []
        uncertain = 0
        for seed in range(self.databases * TRIES):
            make = partial(fill, statements=statements, rows=self.rows, seed=seed, values=values)
            wanted, again = self._rows(make, query), self._rows(self._backwards(make), query)
            if _says_nothing(wanted):
                continue
            if Counter(wanted) == Counter(again):
                certain.append((make, wanted, _ordered(query) and wanted == again))
            else:
                uncertain += 1
            if len(certain) == self.databases:
                break
        if len(certain) <= uncertain:
            raise CheckError(
                "the reference query returns nothing certain on random rows: "
                f"{uncertain} times it hung on how they are stored; give {{setup, query}}"
            )
        return certain

    def _compared(self, make: Make, answer: str, wanted: list[Row], ordered: bool) -> Outcome:
        try:
            got = self._rows(make, answer)
        except UNUSABLE as error:
            return judged(False, f"query failed: {error}")
        if ordered:
            return judged(got == wanted, f"{len(got)} rows, wanted {len(wanted)} in order")
        return judged(Counter(got) == Counter(wanted), f"{len(got)} rows, wanted {len(wanted)}")

    def _rows(self, make: Make, query: str) -> list[Row]:
        connection = self._made(make)
        try:
            connection.set_authorizer(_read_only)
            cursor = connection.execute(query)
            if cursor.description is None:
                raise sqlite3.ProgrammingError("it is no query")
            rows = [tuple(map(_rounded, row)) for row in cursor.fetchmany(self.max_rows + 1)]
        finally:
            connection.close()
        if len(rows) > self.max_rows:
            raise sqlite3.OperationalError(f"more than {self.max_rows} rows")
        return rows

    def _backwards(self, make: Make) -> Make:
        def copied(connection: sqlite3.Connection) -> None:
            with closing(self._made(make)) as stored:
                copy_backwards(stored, connection)

        return copied

    def _made(self, make: Make) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
            connection.set_progress_handler(lambda: 1, self.max_steps)
            connection.set_authorizer(_own_database)
            make(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _reference(reference: Any) -> SqlReference:
    value = reference
    if isinstance(reference, str):
        try:
            value = json.loads(reference)
        except ValueError:
            value = {"query": reference}
    try:
        return msgspec.convert(value, SqlReference)
    except msgspec.ValidationError as error:
        shown = f"reference {reference!r:.200}"
        raise CheckError(f"{shown} is no query and not {{setup, query}}: {error}") from error


def _rounded(value: Any) -> Any:
    """A number without its last digits, which hang on the order of adding up."""
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _says_nothing(rows: list[Row]) -> bool:
    """Whether a result would be had from many a wrong query too: no rows, or one of nulls and zeros."""
    return not rows or (len(rows) == 1 and all(value in (None, 0) for value in rows[0]))


def _ordered(query: str) -> bool:
    """Whether a query has an ORDER BY outside of all parentheses."""
    outer, depth = [], 0
    for character in query:
        depth += (character == "(") - (character == ")")
        outer.append(character if depth == 0 else " ")
    return re.search(r"(?i)\border\s+by\b", "".join(outer)) is not None


def _own_database(action: int, name: str | None, *_: Any) -> int:
    if action == sqlite3.SQLITE_PRAGMA and name in ("table_info", "foreign_key_list"):
        return sqlite3.SQLITE_OK  # what `fill` asks of its tables
    return sqlite3.SQLITE_DENY if action in OUTSIDE else sqlite3.SQLITE_OK


def _read_only(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY
