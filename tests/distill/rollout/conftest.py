"""A clock that moves with the test's traffic, so that promotions stand where they would in the traffic."""

from __future__ import annotations

import pytest

from stepdown.ids import now
from tests.distill.rollout.traffic import CLOCK


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotions are dated by the clock of the traffic."""
    CLOCK.at = now()
    monkeypatch.setattr("stepdown.registry.now", CLOCK.now)
