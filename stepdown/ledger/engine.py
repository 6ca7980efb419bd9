"""Opens the database: connections with the right pragmas, and the schema brought up to date."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from stepdown.errors import LedgerError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
CACHE_KIB = 65_536
CHECKPOINT_PAGES = 8_192  # 32 MiB: pages that are written again and again are copied once
MIGRATION_LOCK = 0x57E9D0


def open_engine(url: str) -> Engine:
    """An engine for a SQLite or PostgreSQL URL.

    Raises:
        LedgerError: The URL is malformed or names another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        shown = f"…{url.rpartition('@')[2]}" if "@" in url else url  # what precedes may hold a password
        raise LedgerError(
            f"database URL {shown!r} is malformed; write sqlite:///PATH or postgresql://…"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return _open_postgres(parsed)
    if backend != "sqlite":
        raise LedgerError(f"database {backend!r} is not supported; use sqlite or postgresql")
    if parsed.database:
        _make_folder(Path(parsed.database).parent)
    # A statement's parameters hold what users wrote, which is not for errors and logs.
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _open_postgres(url: URL) -> Engine:
    try:
        driver = url.set(drivername="postgresql+psycopg")
        return create_engine(driver, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise LedgerError("PostgreSQL needs psycopg; pip install 'stepdown[postgres]'") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"the ledger's folder {str(folder)!r} cannot be made: {error.strerror}") from error


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KIB}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "journal_size_limit=67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version; safe when several processes start at once.

    Raises:
        LedgerError: The database cannot be opened, or was written by a newer version of Stepdown.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with _one_at_a_time(engine), engine.connect().execution_options(writes=True) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except (SQLAlchemyError, CommandError, OSError) as error:
        where = engine.url.render_as_string(hide_password=True)
        why = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        on_file = engine.dialect.name == "sqlite"
        remedy = "restore it from a backup, or name another `home`" if on_file else "look at `database`"
        raise LedgerError(f"ledger {where} cannot be opened: {why}; {remedy}") from error


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Hold a lock that other migrating processes wait for."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
            yield
            connection.execute(text(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})"))
    elif engine.url.database and engine.url.database != ":memory:":
        with Path(f"{engine.url.database}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    else:
        yield
