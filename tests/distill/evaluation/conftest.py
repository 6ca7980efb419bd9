"""Live traffic in an empty ledger, with the small models up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepdown.ledger import Ledger
from tests.distill.evaluation.live import Live, serving


@pytest.fixture
def live(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """A task whose small model and students answer `yes`."""
    monkeypatch.setattr("router.ask.FIRST_WAIT_S", 0.001)
    with serving(Live(ledger)) as opened:
        yield opened
