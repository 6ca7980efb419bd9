"""What forms that move a task share."""

from __future__ import annotations

import pytest

from dashboards.moves import MAX_REASON, changes, in_force, reason_of
from dashboards.site import Form
from stepdown.ids import now
from stepdown.records import Deployed, Mode, Promotion


def test_a_diff_names_what_differs_and_nothing_else() -> None:
    before, after = Deployed(Mode.SHADOW), Deployed(Mode.ROUTE, "a", max_quality_loss=0.015)
    assert changes(before, before) == []
    assert [tuple(line) for line in changes(before, after)] == [
        ("Mode", "shadow", "route"),
        ("Router", "none", "a"),
        ("Bound set by hand", "none", "1.5%"),
    ]


def test_before_the_first_promotion_strong_is_in_force() -> None:
    made = Promotion(task="t", sequence=1, at=now(), mode=Mode.SHADOW, artifact=None, actor="ana", reason="")
    assert in_force([]) == Deployed()
    assert in_force([made]) == Deployed(Mode.SHADOW)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({}, "on the dashboard"),
        ({"reason": "  "}, "on the dashboard"),
        ({"reason": " I saw its answers "}, "I saw its answers"),
        ({"reason": "x" * (MAX_REASON + 1)}, "x" * MAX_REASON),
    ],
)
def test_a_move_always_has_a_reason_that_is_not_too_long(written: dict[str, str], kept: str) -> None:
    assert reason_of(Form(written)) == kept
