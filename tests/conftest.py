"""Fixtures that every room's tests share: a real ledger in a real file."""

from __future__ import annotations

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
