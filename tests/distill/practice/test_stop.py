"""When practice is over."""

from __future__ import annotations

import pytest

from distill.practice.stop import Round, why_over
from evals.metrics.intervals import Estimate

HELPED, INCONCLUSIVE, HURT = (
    Estimate(0.05, 0.01, 0.09, 200),
    Estimate(0.02, -0.01, 0.05, 200),
    Estimate(-0.04, -0.08, 0.0, 200),
)
FEW = Estimate(-0.5, -0.9, -0.1, 10)


def chain(*gains: Estimate | None, kept: int = 5) -> list[Round]:
    return [Round(number, kept, gain) for number, gain in enumerate(gains, start=1)]


@pytest.mark.parametrize(
    "gains",
    [
        (),
        (None,),
        (HELPED, HELPED),
        (INCONCLUSIVE,),
        (INCONCLUSIVE, HELPED, INCONCLUSIVE),
        (INCONCLUSIVE, None),
        (FEW, FEW),
        (HURT, HELPED),
    ],
)
def test_it_goes_on(gains: tuple[Estimate | None, ...]) -> None:
    assert why_over(chain(*gains), most=10) is None


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((HURT,), "round 1 did not help"),
        ((HELPED, HURT, None), "round 2 did not help"),
        ((INCONCLUSIVE, INCONCLUSIVE), "rounds 1 and 2 were without a gain"),
        ((INCONCLUSIVE, None, INCONCLUSIVE, FEW), "rounds 1 and 3 were without a gain"),
    ],
)
def test_it_is_over(gains: tuple[Estimate | None, ...], words: str) -> None:
    assert words in (why_over(chain(*gains), most=10) or "")


def test_rounds_that_keep_nothing_are_without_a_gain() -> None:
    assert why_over(chain(None, kept=0), most=10) is None
    assert "without a gain" in (why_over(chain(None, None, kept=0), most=10) or "")


def test_the_settings_cap_the_rounds() -> None:
    assert why_over(chain(HELPED, HELPED), most=2) == "2 rounds were made, and practice_rounds is 2"
    assert why_over([], most=0) is not None
