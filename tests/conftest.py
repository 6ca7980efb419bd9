"""Fixtures that every room's tests share, and the rule that continuous integration skips nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepdown.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in a SQLite file."""
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set, a skipped test fails the run: there, everything that a test needs is there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("tests were skipped, and CI is set: that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
