"""Which bound is in force, and since which promotion."""

from __future__ import annotations

from stepdown.bound_in_force import bounded, set_by, with_bound
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.settings import TaskSettings

TASK = TaskSettings(max_quality_loss=0.02, confidence=0.9)


def history(*bounds: float | None) -> list[Promotion]:
    return [
        Promotion(
            task="t",
            sequence=sequence,
            at=now(),
            mode=Mode.SHADOW,
            artifact=None,
            actor="ana",
            reason="",
            max_quality_loss=bound,
        )
        for sequence, bound in enumerate(bounds, start=1)
    ]


def test_the_bound_that_a_person_set_takes_the_place_of_the_settings() -> None:
    assert with_bound(TASK, Deployed()) is TASK
    found = with_bound(TASK, Deployed(max_quality_loss=0.07))
    assert (found.max_quality_loss, found.confidence) == (0.07, 0.9)


def test_the_bound_in_force_is_that_of_the_newest_promotion(ledger: Ledger) -> None:
    registry = Registry(ledger)
    assert bounded(registry, "t", TASK) is TASK
    for after, bound in enumerate((0.05, 0.01)):
        moved = Deployed(Mode.SHADOW, max_quality_loss=bound)
        assert registry.promote("t", moved, actor="ana", reason="", evidence={}, after=after)
    assert bounded(registry, "t", TASK).max_quality_loss == 0.01
    assert bounded(registry, "other", TASK) is TASK


def test_who_set_it_is_the_first_promotion_since_which_it_is_so() -> None:
    def sequence(*bounds: float | None) -> int | None:
        found = set_by(history(*bounds))
        return found.sequence if found else None

    assert sequence() is None
    assert sequence(None, 0.05, None) is None
    assert sequence(None, 0.05, 0.05, 0.05) == 2
    assert sequence(0.05, 0.01, 0.05) == 3
