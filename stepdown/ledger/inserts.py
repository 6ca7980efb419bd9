"""How records become rows: one prepared INSERT for each kind, run with as many rows as there are.

Invariant: the SQL and the conversion of every value come from the tables of `stepdown.ledger.schema`; only
the work that SQLAlchemy would do again for each row is done once, here. Many rows go into one statement,
because SQLite's driver gives up the lock that Python's threads share at every statement, and the event loop
takes it. Knows nothing of transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Dialect, Insert, Table

BLOCK = 32  # rows in the longest statement, so that old SQLites, which know 999 parameters, take it too

Row = tuple[Any, ...]


class _Statement(NamedTuple):
    """SQL for a fixed number of rows.

    Attributes:
        names: The parameters' names in the order of the values, or None where the driver wants no names.
    """

    sql: str
    names: Sequence[str] | None

    def run(self, cursor: Any, rows: Sequence[Row]) -> None:
        values = tuple(chain.from_iterable(rows))
        cursor.execute(self.sql, values if self.names is None else dict(zip(self.names, values, strict=True)))


class Appender:
    """Appends rows to one table.

    Args:
        insert: Into the table, without values.
        table: Where to.
        dialect: Of the database.
    """

    def __init__(self, insert: Insert, table: Table, dialect: Dialect) -> None:
        self._insert = insert
        self._columns = [column.name for column in table.columns]
        self._dialect = dialect
        self._statements: dict[int, _Statement] = {}
        processors = ((c.type.dialect_impl(dialect).bind_processor(dialect)) for c in table.columns)
        self._conversions = [(i, convert) for i, convert in enumerate(processors) if convert is not None]
        self._read: Callable[[Any], Row] = attrgetter(*self._columns)

    def row(self, record: Any) -> Row:
        """The values of a record whose fields are named as the columns are, as the driver wants them."""
        return self.converted(self._read(record))

    def converted(self, values: Sequence[Any]) -> Row:
        """Values in the order of the columns, as the driver wants them."""
        row = list(values)
        for index, convert in self._conversions:
            row[index] = convert(row[index])
        return tuple(row)

    def append(self, cursor: Any, rows: Sequence[Row]) -> None:
        """Insert rows through a cursor of the driver, in statements of at most `BLOCK` rows each."""
        start = 0
        for size in _sizes(len(rows)):
            self._statement(size).run(cursor, rows[start : start + size])
            start += size

    def _statement(self, size: int) -> _Statement:
        statement = self._statements.get(size)
        if statement is None:
            statement = self._statements[size] = self._compiled(size)
        return statement

    def _compiled(self, size: int) -> _Statement:
        values = [dict.fromkeys(self._columns)] * size
        compiled: Any = self._insert.values(values).compile(dialect=self._dialect)
        return _Statement(str(compiled), None if compiled.positional else list(compiled.params))


def _sizes(count: int) -> Iterator[int]:
    """Powers of two that sum to `count`, so that few statements serve every count."""
    size = BLOCK
    while count:
        while size > count:
            size //= 2
        yield size
        count -= size
