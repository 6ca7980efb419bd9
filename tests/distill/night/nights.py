"""A look at a task's nights whose other rooms are fakes, and what came of a night."""

from __future__ import annotations

from datetime import UTC, datetime

from distill.night.book import Book
from distill.night.machine import ENDED, Stage
from distill.night.run import look
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from tests.distill.night.rooms import TASK, Rooms, Scene

AT = datetime(2026, 11, 22, 2, 31, tzinfo=UTC)
NIGHT = f"{TASK}/2026-11-22"


def go(ledger: Ledger, settings: Settings, scene: Scene, at: datetime = AT) -> str | None:
    """Look, and run what is due; what came of it."""
    return look(ledger, settings, {}, TASK, at=at, parts=Rooms.of(scene))


def outcomes(ledger: Ledger, night: str = NIGHT) -> dict[str, str]:
    """How the stages of a night ended, in their order."""
    ends = {e.stage: e.outcome for e in Book(ledger, TASK).events(night) if e.event == ENDED}
    return {stage: ends[stage] for stage in Stage if stage in ends}


def reason(ledger: Ledger, stage: Stage, night: str = NIGHT) -> str:
    """Why a stage ended so."""
    (ended,) = (e for e in Book(ledger, TASK).events(night) if (e.stage, e.event) == (stage, ENDED))
    return ended.reason


def ended_at(ledger: Ledger, stage: Stage, outcome: str) -> None:
    """A stage ended so, those before it were done, those after it skipped, and the report was made."""
    order = list(Stage)
    found, place = outcomes(ledger), order.index(stage)
    assert found.pop(Stage.PRACTICE) == "skipped"
    assert found[stage] == outcome
    assert all(found[one] == "done" for one in order[:place] if one in found)
    assert all(found[one] == "skipped" for one in order[place + 1 : -1] if one in found)
    assert found[Stage.REPORT] == "done"
