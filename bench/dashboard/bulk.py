"""Many records into a ledger at once: as COPY into PostgreSQL, as one prepared statement into SQLite.

Invariant: a value is converted as the ledger itself converts it. What is written survives the process, but in
SQLite not a loss of power: the ledger is made for a benchmark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, insert

from stepdown.ledger import Ledger, Record
from stepdown.ledger.inserts import Appender
from stepdown.ledger.store import TABLES

Rows = list[tuple[Any, ...]]


def write(ledger: Ledger, records: Iterable[Record]) -> None:
    """Write records, whose keys must be new, in one transaction."""
    kinds: dict[type, Rows] = defaultdict(list)
    appenders: dict[type, Appender] = {}
    for record in records:
        kind = type(record)
        if kind not in appenders:
            appenders[kind] = Appender(insert(TABLES[kind]), TABLES[kind], ledger.engine.dialect)
        kinds[kind].append(appenders[kind].row(record))
    raw = ledger.engine.raw_connection()
    try:
        cursor: Any = raw.cursor()
        put = _copy if ledger.engine.dialect.name == "postgresql" else _insert
        if put is _insert:
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.execute("BEGIN IMMEDIATE")
        for kind, rows in kinds.items():
            put(cursor, TABLES[kind], rows)
        raw.commit()
        cursor.close()
    finally:
        raw.close()


def _names(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _insert(cursor: Any, table: Table, rows: Rows) -> None:
    marks = ", ".join("?" * len(table.columns))
    cursor.executemany(f"INSERT INTO {table.name} ({_names(table)}) VALUES ({marks})", rows)


def _copy(cursor: Any, table: Table, rows: Rows) -> None:
    with cursor.copy(f"COPY {table.name} ({_names(table)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
