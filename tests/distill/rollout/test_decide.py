"""The rules of a rollout, as cases: who grows, who waits, who goes back."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from distill.rollout.decide import Action, ArmRow, Observed, Rules, assess, assess_service
from distill.rollout.trial import Step, Trial
from distill.rollout.watches import Series, Timed

START = datetime(2026, 11, 1, tzinfo=UTC)
RULES = Rules(
    alpha=0.05,
    max_quality_loss=0.02,
    shadow_calls=10,
    shares=(0.1, 0.3, 0.6),
    margin=0.1,
    lasts=timedelta(days=7),
    error_rate=0.05,
    latency_ratio=1.5,
)


def trial(*shares: float, router: str | None = "r") -> Trial:
    steps = tuple(Step(START + timedelta(hours=n), share) for n, share in enumerate((0.0, *shares)))
    return Trial("s", router, None, steps, len(steps))


def arms(
    count: int,
    step: int,
    share: float,
    *,
    canary: float = 1.0,
    control: float = 1.0,
    settled: bool = True,
    seed: int = 0,
) -> list[ArmRow]:
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        drawn = bool(chance.random() < share)
        good = float(chance.random() < (canary if drawn else control))
        name = f"{step} {number}"
        rows.append(ArmRow(name, step, drawn, share, good, good if settled else math.nan, 0.0))
    return rows


def decided(seen: Observed, on: Trial, *, rules: Rules = RULES, hours: float = 10) -> tuple[Action, float]:
    found = assess(on, seen, rules, START + timedelta(hours=hours))
    return found.action, found.share


def test_the_shares_are_gone_through_one_by_one() -> None:
    shadowed = Observed(shadow_labelled=10)
    assert decided(shadowed, trial()) == (Action.GROW, 0.1)
    first = Observed(arms=arms(400, 1, 0.1))
    assert decided(first, trial(0.1)) == (Action.GROW, 0.3)
    third = Observed(arms=[*first.arms, *arms(400, 2, 0.3), *arms(400, 3, 0.6)])
    assert decided(third, trial(0.1, 0.3, 0.6)) == (Action.GO_LIVE, 0.0)


def test_what_an_earlier_step_earned_does_not_pass_the_next_one_by() -> None:
    assert decided(Observed(arms=arms(5000, 1, 0.1)), trial(0.1, 0.3)) == (Action.STAY, 0.0)


def test_a_person_who_begins_with_a_large_share_passes_no_step_by() -> None:
    """Else a candidate would go live on one step's evidence, which alone deceives too often."""
    few = Observed(arms=arms(40, 1, 0.6))
    found = assess(trial(0.6), few, RULES, START)
    assert found.log_needed == pytest.approx(math.log(20))
    both = assess(trial(0.3, 0.6), Observed(arms=[*arms(300, 1, 0.3), *arms(40, 2, 0.6)]), RULES, START)
    assert both.log_needed == pytest.approx(math.log(20) / 3)
    assert decided(Observed(arms=arms(400, 1, 0.45)), trial(0.45)) == (Action.GROW, 0.6)


def test_only_what_is_settled_makes_it_grow_and_all_that_is_known_takes_it_back() -> None:
    unsettled = arms(400, 1, 0.1, settled=False)
    assert decided(Observed(arms=unsettled), trial(0.1)) == (Action.STAY, 0.0)
    bad = arms(400, 1, 0.1, canary=0.3, settled=False)
    assert decided(Observed(arms=bad), trial(0.1)) == (Action.ROLL_BACK, 0.0)


def test_an_alarm_goes_before_what_was_earned() -> None:
    earned: dict[str, Any] = {"arms": arms(400, 1, 0.1)}
    failing = Series([1.0] * 5, [str(n) for n in range(5)])
    assert decided(Observed(**earned, errors=failing), trial(0.1)) == (Action.ROLL_BACK, 0.0)
    assert decided(Observed(**earned, regrets=failing), trial(0.1)) == (Action.ROLL_BACK, 0.0)
    slow: dict[str, Any] = {
        "answers": [Timed(100 + n, 200, str(n)) for n in range(5)],
        "reference": [Timed(n, 100) for n in range(20)],
    }
    assert decided(Observed(**earned, **slow), trial(0.1)) == (Action.ROLL_BACK, 0.0)


def test_failures_of_one_conversation_are_one_observation() -> None:
    talk = Series([1.0] * 50, ["c"] * 50)
    assert decided(Observed(errors=talk), trial())[0] is Action.STAY


def test_without_a_router_nothing_is_answered() -> None:
    assert decided(Observed(shadow_labelled=99), trial(router=None)) == (Action.STAY, 0.0)


def test_who_is_undecided_in_the_end_goes_back_and_who_has_earned_it_goes_on() -> None:
    week = 24 * 7
    assert decided(Observed(), trial(), hours=week - 1)[0] is Action.STAY
    assert decided(Observed(), trial(), hours=week)[0] is Action.ROLL_BACK
    assert decided(Observed(shadow_labelled=10), trial(), hours=week)[0] is Action.GROW
    assert decided(Observed(), trial(0.1), hours=week)[0] is Action.STAY  # the canary is an hour younger
    assert decided(Observed(), trial(0.1), hours=week + 1)[0] is Action.ROLL_BACK


def test_a_canary_that_is_worse_by_the_margin_seldom_grows() -> None:
    """Three steps would need alpha^(1/3) each; over 50 trials no more grow than chance allows."""
    grown = [
        decided(Observed(arms=arms(300, 1, 0.3, control=0.9, canary=0.8, seed=seed)), trial(0.3))[0]
        is Action.GROW
        for seed in range(50)
    ]
    assert sum(grown) <= 14  # the step of a share in the middle needs 20^(2/3), which is 7.4


def test_a_student_in_service_stays_without_an_alarm() -> None:
    assert assess_service(Observed(), RULES).action is Action.STAY
    failing = Series([1.0] * 5, [str(n) for n in range(5)])
    found = assess_service(Observed(errors=failing), RULES)
    assert (found.action, found.reason) == (
        Action.ROLL_BACK,
        "alarm: failed calls 100.0% of 5, limit 5.0%, e-value 1.25e+05 of 20",
    )
