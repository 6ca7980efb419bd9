"""Several reads of the ledger over one connection, for pages that make many small ones.

Invariant: nothing is written, and the connection is given back however the reads end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select

from stepdown.ledger import Ledger


class Reads:
    """Reads over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.is_postgres = connection.dialect.name == "postgresql"

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """All rows of a query."""
        return self._connection.execute(query).all()


@contextmanager
def reading(ledger: Ledger) -> Iterator[Reads]:
    """Reads, which see one state of the ledger where the database has it so.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with ledger.reading() as connection:
        yield Reads(connection)
