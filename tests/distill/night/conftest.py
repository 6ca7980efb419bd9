"""What nights find."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from stepdown.ledger import Ledger
from tests.distill.night.nights import AT
from tests.distill.night.rooms import Scene, asked_before


@pytest.fixture
def scene(ledger: Ledger, tmp_path: Path) -> Scene:
    """A task with a request of nine days ago, and rooms that do well."""
    asked_before(ledger, AT - timedelta(days=9))
    return Scene(tmp_path)
