"""What is said of a night while it is under way, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from distill.night.status import status
from distill.night.text import render_status
from stepdown.ledger import Ledger
from tests.distill.night.nights import AT, go
from tests.distill.night.rooms import TASK, Scene, settings_for


def test_status_says_how_far_it_is_and_when_the_next_one_begins(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path)
    before = status(ledger, settings, TASK, at=AT)
    assert before.night is None
    assert before.is_due
    shown: list[str] = []
    scene.meanwhile["train"] = lambda: shown.append(render_status(status(ledger, settings, TASK, at=AT)))
    scene.passes = {}
    go(ledger, settings, scene)
    assert "it is under way" in shown[0]
    assert "evaluate  waiting" in shown[0]
    after = status(ledger, settings, TASK, at=AT)
    assert not after.is_due
    assert after.next_at == datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    text = render_status(after)
    assert "no candidate passed: adapter: fresh sample: 8.0% worse" in text
    assert "next night: 2026-11-23 02:30 UTC" in text
    assert "overall  -8%" in text
