"""Three nights in a row while the traffic shifts.

The first student goes live; the second is stopped by the gate; the third passes the gate, fails in its canary
and is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepdown.ledger import Ledger
from tests.school import World, a_world, three_nights


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> Iterator[World]:
    with a_world(ledger, tmp_path) as made:
        yield made


def test_three_nights(world: World) -> None:
    three_nights(world)
