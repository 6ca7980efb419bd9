"""One holder of a name at a time, whoever it is and on whichever machine.

Invariant: the lock is the database's or the kernel's, and so ends with its holder, even where that is killed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from stepdown.errors import LedgerError
from stepdown.ids import digest
from stepdown.ledger import Ledger


@contextmanager
def alone(ledger: Ledger, name: str) -> Iterator[bool]:
    """Hold the lock of a name for the length of a block, or learn that somebody else does.

    Raises:
        LedgerError: The database refused.
    """
    key = digest(name.encode())
    if ledger.engine.dialect.name == "postgresql":
        with _on_postgres(ledger, int(key[:15], 16)) as held:
            yield held
    else:
        with _on_file(Path(f"{ledger.engine.url.database}.{key[:12]}.lock")) as held:
            yield held


@contextmanager
def _on_postgres(ledger: Ledger, key: int) -> Iterator[bool]:
    try:
        connection = ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger cannot be reached: {error}") from error
    with connection:
        held = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))
        try:
            yield held
        finally:
            if held:  # else the connection would take it back to the pool
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


@contextmanager
def _on_file(path: Path) -> Iterator[bool]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
