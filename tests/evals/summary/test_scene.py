"""How far back is looked, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from evals.summary import scene
from evals.summary.keep import keep_summaries
from evals.summary.scene import first_looked_at
from stepdown.ledger import Ledger
from tests.evals.ledgers import START
from tests.evals.report.scene import play, settings
from tests.records import a_request

ON_BOTH_DATABASES = True


def test_all_is_looked_at_unless_it_is_too_much_or_too_old(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_looked_at(ledger, "default", START) is None
    ledger.append([a_request(at=START + timedelta(days=day)) for day in range(5)])
    ledger.append([a_request(at=START - timedelta(days=500), task="other")])
    assert first_looked_at(ledger, "default", START + timedelta(days=90)) is None
    late = START + timedelta(days=92)
    assert first_looked_at(ledger, "default", late) == START + timedelta(days=2)
    monkeypatch.setattr(scene, "MOST_REQUESTS", 5)
    assert first_looked_at(ledger, "default", START) is None
    monkeypatch.setattr(scene, "MOST_REQUESTS", 2)
    assert first_looked_at(ledger, "default", START) == START + timedelta(days=3)
    assert first_looked_at(ledger, "default", late) == START + timedelta(days=3)


def test_every_document_of_a_task_with_a_router_is_kept(ledger: Ledger) -> None:
    play(ledger)
    kept = keep_summaries(ledger, settings(), "default", at=START + timedelta(hours=6))
    assert kept == ("totals", "days", "outlook", "frontier")
