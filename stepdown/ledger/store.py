"""The ledger as an object: appends records, and answers the few reads that every room needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Executable, Row, Table, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stepdown.errors import LedgerError
from stepdown.ids import digest, now
from stepdown.ledger import schema
from stepdown.ledger.bodies import compress_all, decompress
from stepdown.ledger.engine import migrate, open_engine
from stepdown.ledger.inserts import Appender
from stepdown.records import (
    Artifact,
    CachedAnswer,
    Call,
    Decision,
    Expense,
    Feedback,
    Label,
    Night,
    NightEvent,
    Progress,
    Promotion,
    Request,
)


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to keep beside the records that name them by digest."""

    digest: str
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The body with its digest computed."""
        return cls(digest(content), content)


BODIES_AT_ONCE = 500

Record = (
    Request
    | Decision
    | Call
    | Label
    | Feedback
    | CachedAnswer
    | Artifact
    | Promotion
    | Night
    | NightEvent
    | Progress
    | Expense
    | Body
)

TABLES: dict[type, Table] = {
    Body: schema.bodies,
    Request: schema.requests,
    Decision: schema.decisions,
    Call: schema.calls,
    Label: schema.labels,
    Feedback: schema.feedback,
    CachedAnswer: schema.cached_answers,
    Artifact: schema.artifacts,
    Promotion: schema.promotions,
    Night: schema.nights,
    NightEvent: schema.night_events,
    Progress: schema.progress,
    Expense: schema.expenses,
}


def _why(error: Exception) -> str:
    """What the database said, without the statement: an error may be shown on a page."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(said).partition("\n")[0]


class Ledger:
    """A ledger in one database.

    Args:
        url: `sqlite:///PATH` or `postgresql://…`.
        migrated: Whether to bring the schema up to date first.

    Raises:
        LedgerError: The database cannot be opened.
    """

    def __init__(self, url: str, *, migrated: bool = True) -> None:
        self.engine = open_engine(url)
        if migrated:
            migrate(self.engine)
        on_postgres = self.engine.dialect.name == "postgresql"
        self._insert = postgres_insert if on_postgres else sqlite_insert
        driver: Any = self.engine.dialect.dbapi
        self._driver_error: type[Exception] = driver.Error
        self._writing_engine = self.engine.execution_options(writes=True)
        self._appenders = {kind: self._appender(kind) for kind in TABLES}

    def _appender(self, kind: type) -> Appender:
        table = TABLES[kind]
        insert = self._insert(table)
        kept = insert if kind is Promotion else insert.on_conflict_do_nothing()
        return Appender(kept, table, self.engine.dialect)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction, committed at the end of the block.

        Raises:
            LedgerError: The database refused it; nothing was written.
        """
        try:
            with self._writing_engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, self._driver_error) as error:
            raise LedgerError(f"the ledger refused a write: {_why(error)}") from error

    def append(self, records: Iterable[Record]) -> None:
        """Commit records in one transaction.

        A record whose key is already there is left as it is, so that appending twice changes
        nothing; only a promotion whose sequence is taken is refused.

        Raises:
            LedgerError: The database refused; none of the records was kept.
        """
        rows = self._rows(records)  # compresses bodies, which must not be done while others wait to write
        with self.writing() as connection:
            self._execute(connection, rows)

    def add(self, connection: Connection, records: Iterable[Record]) -> None:
        """Add records within a transaction of `writing`, by the rules of `append`."""
        self._execute(connection, self._rows(records))

    def _rows(self, records: Iterable[Record]) -> dict[type, list[tuple[Any, ...]]]:
        kinds: dict[type, list[Any]] = defaultdict(list)
        for record in records:
            kinds[type(record)].append(record)
        rows = {
            kind: list(map(self._appenders[kind].row, same))
            for kind, same in kinds.items()
            if kind is not Body
        }
        if Body in kinds:
            rows[Body] = self._body_rows(kinds[Body])
        return rows

    def _body_rows(self, bodies: Sequence[Body]) -> list[tuple[Any, ...]]:
        at, converted = now(), self._appenders[Body].converted
        frames = compress_all([body.content for body in bodies])
        return [
            converted((body.digest, at, len(body.content), frame))
            for body, frame in zip(bodies, frames, strict=True)
        ]

    def _execute(self, connection: Connection, rows: Mapping[type, list[tuple[Any, ...]]]) -> None:
        cursor = connection.connection.cursor()
        try:
            for kind, group in rows.items():
                self._appenders[kind].append(cursor, group)
        finally:
            cursor.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for several reads, given back at the end of the block.

        Raises:
            LedgerError: The database refused one.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise LedgerError(f"the ledger refused a read: {_why(error)}") from error

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of a query.

        Raises:
            LedgerError: The database refused the query.
        """
        with self.reading() as connection:
            return connection.execute(statement, parameters or {}).all()

    def body(self, name: str) -> bytes:
        """The content of a body.

        Raises:
            LedgerError: There is no such body, or it is corrupt.
        """
        table = schema.bodies
        found = self.rows(select(table.c.content).where(table.c.digest == name))
        if not found:
            raise LedgerError(f"body {name!r} is not in the ledger; its retention may have ended")
        return decompress(name, found[0].content)

    def bodies(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of those bodies that are there and whole, by digest.

        Raises:
            LedgerError: The database refused the query.
        """
        table, wanted, found = schema.bodies, sorted(set(names)), {}
        for start in range(0, len(wanted), BODIES_AT_ONCE):
            chunk = wanted[start : start + BODIES_AT_ONCE]
            for row in self.rows(select(table.c.digest, table.c.content).where(table.c.digest.in_(chunk))):
                try:
                    found[row.digest] = decompress(row.digest, row.content)
                except LedgerError:
                    continue  # it is as good as gone, and whoever asked sees that it is not there
        return found

    def put(self, table: Table, row: Mapping[str, Any]) -> None:
        """Keep what was seen last, in place of the row that has the same key.

        Raises:
            LedgerError: The database refused it.
        """
        key = [column.name for column in table.primary_key]
        statement = self._insert(table).values(**row)
        seen = {name: statement.excluded[name] for name in row if name not in key}
        with self.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=key, set_=seen))

    def beat(self, name: str) -> None:
        """Note that a part named `name` is alive now."""
        self.put(schema.heartbeats, {"name": name, "at": now()})

    def last_beat(self, name: str) -> datetime | None:
        """When `name` was last alive, or None."""
        table = schema.heartbeats
        found = self.rows(select(table.c.at).where(table.c.name == name))
        return found[0].at if found else None

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
