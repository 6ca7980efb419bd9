"""Opening a ledger: its pragmas, its migrations, and what is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stepdown.errors import LedgerError
from stepdown.ledger import Ledger, schema
from tests.records import a_request


def test_the_database_is_in_wal_mode_and_commits_durably(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.db'}"
    Ledger(url).append([a_request()])
    assert Ledger(url).rows(select(func.count()).select_from(schema.requests))[0][0] == 1


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/x", "sqlite:////proc/no/such/ledger.db"])
def test_a_database_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(LedgerError):
        Ledger(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("this is not a database, however long it may be" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db cannot be opened: file is not a database; .*`home`$"):
        Ledger(f"sqlite:///{file}")


def test_a_folder_in_which_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").mkdir()
    with pytest.raises(LedgerError, match=r"cannot be opened: .*directory"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_errors_show_neither_passwords_nor_what_users_wrote(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="malformed") as refused:
        Ledger("postgresql//user:secret@host/db")
    assert "secret" not in str(refused.value)
    with pytest.raises(LedgerError, match="refused") as refused, ledger.writing() as connection:
        connection.execute(
            schema.answers.insert(), {"task": "t", "reference": "a secret", "prompt_hash": "h"}
        )
    assert "a secret" not in str(refused.value)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="9999"):
        Ledger(f"sqlite:///{file}")
