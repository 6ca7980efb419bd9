"""When students were in service, and which one was before which."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from distill.bill.service import Period, in_service, predecessor, share_at
from stepdown.records import Mode, Promotion
from tests.distill.bill.scene import DAY, START


def history(*steps: dict[str, Any]) -> list[Promotion]:
    """One promotion a day."""
    return [
        Promotion(
            task="default",
            sequence=number + 1,
            at=START + number * DAY,
            mode=Mode.ROUTE,
            artifact=None,
            actor="ana",
            reason="",
            **step,
        )
        for number, step in enumerate(steps)
    ]


def day(number: float) -> datetime:
    return START + number * DAY


def test_periods_join_over_promotions_that_keep_the_student_and_part_where_another_is_in_service() -> None:
    steps = history(
        {}, {"student": "a"}, {"student": "a", "candidate": "b"}, {"student": "b"}, {"student": "a"}
    )
    assert in_service(steps, "a", day(6)) == (Period(day(1), day(3)), Period(day(4), day(6)))
    assert in_service(steps, "b", day(6)) == (Period(day(3), day(4)),)
    assert in_service(steps, "c", day(6)) == ()
    assert in_service([], "a", day(6)) == ()


def test_no_period_is_negative_where_a_clock_was_set_back() -> None:
    assert Period(day(2), day(1)).seconds == 0
    assert Period(day(1), day(3)).until(day(2)) == 86400
    assert Period(day(1), day(3)).until(day(0)) == 0


def test_the_predecessor_is_who_served_when_a_student_was_first_tried() -> None:
    tried = history({"student": "a"}, {"student": "a", "candidate": "b"}, {"student": "b"})
    assert predecessor(tried, "b") == "a"
    assert predecessor(tried, "a") is None
    put = history({"student": "a"}, {"student": "b"})
    assert predecessor(put, "b") == "a"
    assert predecessor([], "a") is None


def test_the_share_is_that_of_the_promotion_in_force() -> None:
    steps = history(
        {"candidate": "b"},
        {"candidate": "b", "candidate_share": 0.1},
        {"candidate": "b", "candidate_share": 0.5},
        {"student": "b"},
    )
    at = [share_at(steps, "b", day(number)) for number in (-1, 0.5, 1.5, 2, 3.5)]
    assert at == [None, None, 0.1, 0.5, None]
    assert share_at(steps, "a", day(1.5)) is None
