"""Tables for queries to run on: found in a prompt, and filled with random rows.

Invariant: the same statements, seed and literals make the same rows. The module does not know any query's
meaning.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

START = re.compile(
    r"(?i)\b(?:CREATE\s+(?:TEMP(?:ORARY)?\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?|INSERT\s+(?:OR\s+\w+\s+)?INTO\s+)"
    r"(?P<name>(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])(?:\s*\.\s*(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\]))?)"
)
TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|[^\s'\"`();,/-]+|.", re.DOTALL)
GOES_ON = re.compile(r"\s|,|\(|(?i:VALUES)|--.*|/\*.*", re.DOTALL)  # what may follow a closed list
LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(-?\d+(?:\.\d+)?)(?![\w.])")
# Words of other dialects that SQLite does not know.
FOREIGN = re.compile(
    r"(?i)\bAUTO_INCREMENT\b|\bUNSIGNED\b|\bZEROFILL\b|\bCOMMENT\s+'(?:[^']|'')*'|\bCHARACTER\s+SET\s+\w+"
    r"|\bON\s+UPDATE\s+CURRENT_TIMESTAMP(?:\(\d*\))?|\bWITH(?:OUT)?\s+TIME\s+ZONE\b"
)
ENUM = re.compile(r"(?i)\b(?:ENUM|SET)\s*\((?:\s*'(?:[^']|'')*'\s*,?)+\)")
NOW = re.compile(r"(?i)\bDEFAULT\s+(?:now|current_timestamp|gen_random_uuid|uuid_generate_v4)\s*\(\s*\)")
KEY = re.compile(r"(?i),\s*(?:KEY|INDEX|FULLTEXT\s+KEY)\s+\S+\s*\([^()]*\)")
NUMERIC = ("INT", "NUM", "REAL", "FLOA", "DOUB", "DEC", "SERIAL", "BOOL")
NULL_SHARE = 0.08
WORDS = "amber basil cedar delta ember fjord grove haven iris jade kelp lotus maple north olive pearl".split()


class Statements(msgspec.Struct, frozen=True):
    """What a prompt says of its tables: the last statement that creates each, and all that fill them."""

    create: tuple[str, ...]
    insert: tuple[str, ...]


def statements_in(prompt: str) -> Statements:
    """The CREATE TABLE and INSERT statements of a text, the tables' as SQLite takes them."""
    create: dict[str, str] = {}
    insert: list[str] = []
    for match in START.finditer(prompt):
        statement = _statement(prompt, match.start())
        name = re.split(r"\s*\.\s*", match["name"])[-1]
        plain = statement.replace(match["name"], name, 1)  # a schema's name is no database here
        if match.group().upper().startswith("CREATE"):
            create[name.strip('"`[]').casefold()] = _in_sqlite(plain)
        else:
            insert.append(plain)
    return Statements(tuple(create.values()), tuple(insert))


def _statement(text: str, start: int) -> str:
    """The statement that begins there: up to its semicolon, or else up to where its lists are closed."""
    depth, last = 0, start
    for match in TOKEN.finditer(text, start):
        token = match.group()
        if token == ";" or (depth == 0 and last > start and not GOES_ON.fullmatch(token)):
            break
        depth += (token == "(") - (token == ")")
        if depth == 0 and token == ")":
            last = match.end()
    return text[start:last] if last > start else text[start:].partition(";")[0]


def _in_sqlite(statement: str) -> str:
    statement = ENUM.sub("TEXT", NOW.sub("", FOREIGN.sub("", statement)))
    return KEY.sub("", statement)


def literals(query: str) -> list[str | float]:
    """The constants of a query: texts, without the wildcards of LIKE, and numbers."""
    found: list[str | float] = []
    for text, number in LITERAL.findall(query):
        if number:
            found.append(float(number) if "." in number else int(number))
        elif text:
            found.append(text.replace("''", "'").strip("%"))
    return found


@dataclass(slots=True)
class Column:
    """A column as SQLite declares it."""

    name: str
    type: str
    required: bool
    key: int
    unique: bool
    points_to: tuple[str, str] | None = None


@dataclass(slots=True)
class Table:
    """A table with its columns."""

    name: str
    columns: list[Column] = field(default_factory=list)

    def points_to(self) -> set[str]:
        """The other tables that its columns point to."""
        names = {column.points_to[0].casefold() for column in self.columns if column.points_to}
        return names - {self.name.casefold()}


def fill(
    connection: sqlite3.Connection,
    statements: Statements,
    *,
    rows: int,
    seed: int,
    values: Sequence[str | float],
) -> None:
    """Make the tables, run the inserts, and give random rows to tables that are empty then.

    Args:
        connection: To an empty database.
        statements: That create tables, and that fill them.
        rows: For each empty table; fewer where a random row breaks one of its constraints.
        seed: Of the random rows.
        values: Constants that queries ask for, of which some rows are to be made.

    Raises:
        sqlite3.Error: SQLite does not take a statement.
    """
    for statement in (*statements.create, *statements.insert):
        connection.execute(statement)
    randomness = random.Random(seed)
    for table in _in_order(_tables(connection)):
        quoted = _quoted(table.name)
        if connection.execute(f"SELECT 1 FROM {quoted} LIMIT 1").fetchone():
            continue
        places = ", ".join("?" for _ in table.columns)
        for number in range(rows):
            row = [_value(connection, randomness, column, number, values) for column in table.columns]
            connection.execute(f"INSERT OR IGNORE INTO {quoted} VALUES ({places})", row)


def copy_backwards(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy all tables without their constraints, the last row first.

    What a query returns must not hang on that, unless it leaves open which rows it wants, or their order.
    """
    for table in _tables(source):
        quoted = _quoted(table.name)
        columns = ", ".join(f"{_quoted(column.name)} {column.type}" for column in table.columns)
        places = ", ".join("?" for _ in table.columns)
        target.execute(f"CREATE TABLE {quoted} ({columns})")
        rows = source.execute(f"SELECT * FROM {quoted}").fetchall()
        target.executemany(f"INSERT INTO {quoted} VALUES ({places})", rows[::-1])


def _tables(connection: sqlite3.Connection) -> list[Table]:
    named = "type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = connection.execute(f"SELECT name FROM sqlite_master WHERE {named}")
    return [_table(connection, name) for (name,) in names.fetchall()]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    table = Table(name)
    for _, column, kind, required, _, key in connection.execute(f"PRAGMA table_info({_quoted(name)})"):
        table.columns.append(Column(column, kind.upper(), bool(required), key, key > 0))
    keys = sum(column.key > 0 for column in table.columns)
    for column in table.columns:
        column.unique = column.key > 0 and keys == 1
    for reference in connection.execute(f"PRAGMA foreign_key_list({_quoted(name)})"):
        for column in table.columns:
            if column.name.casefold() == reference[3].casefold():
                column.points_to = (reference[2], reference[4] or column.name)
    return table


def _in_order(tables: list[Table]) -> list[Table]:
    """The tables, each after those that it points to, as far as that is possible."""
    ordered: list[Table] = []
    while left := [table for table in tables if table not in ordered]:
        waiting = {table.name.casefold() for table in left}
        free = [table for table in left if not table.points_to() & waiting]
        ordered += free or left[:1]
    return ordered


def _value(
    connection: sqlite3.Connection,
    randomness: random.Random,
    column: Column,
    number: int,
    values: Sequence[str | float],
) -> Any:
    if column.points_to and (found := _pointed_at(connection, *column.points_to)):
        return randomness.choice(found)
    if not column.required and not column.key and randomness.random() < NULL_SHARE:
        return None
    if column.unique:
        return number + 1 if _is_number(column) else f"{WORDS[number % len(WORDS)]}{number}"
    return randomness.choice(list(_candidates(randomness, column, values)))


def _pointed_at(connection: sqlite3.Connection, table: str, column: str) -> list[Any]:
    try:
        found = connection.execute(f"SELECT {_quoted(column)} FROM {_quoted(table)}").fetchall()
    except sqlite3.Error:  # it points to what is not there
        return []
    return [value for (value,) in found]


def _is_number(column: Column) -> bool:
    return any(word in column.type for word in NUMERIC)


def _candidates(
    randomness: random.Random, column: Column, values: Sequence[str | float]
) -> Iterator[str | float]:
    """Values that the column may have: few different ones, so that joins, groups and ties come about."""
    name = column.name.casefold()
    if "BOOL" in column.type:
        yield from (0, 1)
    elif "DATE" in column.type or "TIME" in column.type or name.endswith(("date", "_at")):
        yield from _dates(randomness, "TIME" in column.type)
        yield from (v for v in values if isinstance(v, str) and re.match(r"\d{4}-\d\d", v))
    elif _is_number(column):
        yield from (randomness.randint(0, 20), randomness.randint(0, 2000))
        yield from (v + near for v in values if not isinstance(v, str) for near in (-1, 0, 1))
        if "INT" not in column.type:
            yield round(randomness.uniform(0, 500), 2)
    else:
        yield from randomness.sample(WORDS, 3)
        for value in values:
            if isinstance(value, str):  # and its neighbours, which only a pattern takes for it
                yield from (value, value, f"{value}{WORDS[0]}", f"{WORDS[1]}{value}", value.swapcase())


def _dates(randomness: random.Random, with_time: bool) -> Iterator[str]:
    for _ in range(3):
        year, month, day = (
            randomness.randint(2019, 2025),
            randomness.randint(1, 12),
            randomness.randint(1, 28),
        )
        time = f" {randomness.randint(0, 23):02}:00:00" if with_time else ""
        yield f"{year}-{month:02}-{day:02}{time}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
