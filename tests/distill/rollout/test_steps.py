"""How trials begin and are ended by people, and when one is not begun."""

from __future__ import annotations

from functools import partial

import pytest

from distill.rollout import begin, roll_back
from distill.rollout.steps import by_hand, move_on, planned_by_hand, why_not_begin
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.rollback import rollback_of
from tests.distill.rollout.looks import SETTINGS, looked, newest
from tests.distill.rollout.traffic import (
    TASK,
    Traffic,
    a_router,
    a_student,
    begun,
    in_canary,
    promote,
)


def test_a_rolled_back_student_is_not_begun_again_by_itself(ledger: Ledger) -> None:
    student, traffic = begun(ledger), Traffic(ledger)
    traffic.shadow(20, failing=1.0)
    assert "is rolled back from shadow: alarm: failed calls 100.0% of 20" in looked(ledger)
    router = a_router(ledger, student).id
    assert not begin(ledger, SETTINGS, TASK, student, router, {})
    assert begin(
        ledger, SETTINGS, TASK, a_student(ledger, "two"), a_router(ledger, a_student(ledger, "two")).id, {}
    )


def test_a_person_rolls_back_at_once_and_to_before_the_rollout(ledger: Ledger) -> None:
    before = promote(ledger, Deployed(Mode.SHADOW))
    student = in_canary(ledger)
    assert roll_back(ledger, TASK, "I do not like it", {}, actor="ana")
    assert newest(ledger).deployed == before.deployed
    promote(
        ledger, Deployed(Mode.SHADOW, None, None, student, a_router(ledger, student).id, 0.5), actor="ana"
    )
    promote(ledger, Deployed(Mode.ROUTE, a_router(ledger, student).id, student), actor="ana")
    found = rollback_of(Registry(ledger).history(TASK))
    assert found is not None
    assert found.to == before.deployed  # and not a step of the canary
    assert roll_back(ledger, TASK, "nor this", {}, actor="ana")
    assert newest(ledger).deployed == before.deployed
    assert not roll_back(ledger, TASK, "there is none", {}, actor="ana")


WHY_NOT = {
    "on trial": Deployed(Mode.SHADOW, candidate="f" * 64),
    "put the task on strong": Deployed(Mode.STRONG),
}


@pytest.mark.parametrize("why", WHY_NOT)
def test_a_trial_is_not_begun_where_something_is_in_its_way(ledger: Ledger, why: str) -> None:
    promote(ledger, WHY_NOT[why], actor="ana")
    student = a_student(ledger)
    router = a_router(ledger, student).id
    assert why in (why_not_begin(ledger, SETTINGS, TASK, student, router) or "")
    assert not begin(ledger, SETTINGS, TASK, student, router, {})
    assert len(Registry(ledger).history(TASK)) == 1


def test_beginning_again_changes_nothing(ledger: Ledger) -> None:
    student = begun(ledger)
    assert begun(ledger) == student
    assert len(Registry(ledger).history(TASK)) == 1


def test_a_router_that_certifies_nothing_is_no_reason_to_begin(ledger: Ledger) -> None:
    student = a_student(ledger)
    router = a_router(ledger, student, certificate={"coverage": 0, "reason": "9 regrets, 1 allowed"}).id
    assert not begin(ledger, SETTINGS, TASK, student, router, {})


def test_an_alarm_on_what_a_person_tried_on_strong_does_not_open_it_to_others(ledger: Ledger) -> None:
    promote(ledger, Deployed(), actor="ana")
    tried = a_student(ledger, "tried")
    promote(ledger, Deployed(candidate=tried, candidate_router=a_router(ledger, tried).id), actor="ana")
    Traffic(ledger).shadow(20, failing=1.0)
    assert "alarm: failed calls" in looked(ledger)
    assert newest(ledger).deployed == Deployed()
    other = a_student(ledger, "other")
    why_not = why_not_begin(ledger, SETTINGS, TASK, other, a_router(ledger, other).id)
    assert why_not == "ana put the task on strong, and only a person takes it off"


@pytest.mark.parametrize("by_a_person", [False, True])
def test_a_student_goes_live_under_the_bound_that_a_person_set(ledger: Ledger, by_a_person: bool) -> None:
    promote(ledger, Deployed(Mode.SHADOW, max_quality_loss=0.07), actor="ana")
    student = begun(ledger)
    router = a_router(ledger, student).id
    assert newest(ledger).deployed == Deployed(Mode.SHADOW, None, None, student, router, 0.0, 0.07)
    if by_a_person:
        by_hand(ledger, TASK, student, router=None, share=None, actor="ana", reason="good")
    else:
        assert move_on(ledger, TASK, Registry(ledger).history(TASK), None, "earned", {})
    assert newest(ledger).deployed == Deployed(Mode.ROUTE, router, student, max_quality_loss=0.07)


def test_an_alarm_takes_back_a_student_and_not_the_bound_that_a_person_set_meanwhile(ledger: Ledger) -> None:
    promote(ledger, Deployed(Mode.SHADOW))
    student = in_canary(ledger)
    router = a_router(ledger, student).id
    promote(ledger, Deployed(Mode.ROUTE, router, student))
    promote(ledger, Deployed(Mode.ROUTE, router, student, max_quality_loss=0.01), actor="ana")
    assert roll_back(ledger, TASK, "alarm", {})
    assert newest(ledger).deployed == Deployed(Mode.SHADOW, max_quality_loss=0.01)
    found = rollback_of(Registry(ledger).history(TASK))
    assert found is not None
    assert found.to == Deployed()  # who rolls back by hand gets what was in force


def test_a_rollback_by_hand_restores_the_bound_of_what_it_goes_back_to(ledger: Ledger) -> None:
    before = promote(ledger, Deployed(Mode.SHADOW, max_quality_loss=0.07), actor="ana")
    student = a_student(ledger)
    promote(ledger, Deployed(Mode.ROUTE, a_router(ledger, student).id, student, max_quality_loss=0.01))
    assert roll_back(ledger, TASK, "no", {}, actor="ana")
    assert newest(ledger).deployed == before.deployed


def test_a_step_by_hand_is_made_on_what_was_shown_and_on_nothing_else(ledger: Ledger) -> None:
    student = a_student(ledger)
    router = a_router(ledger, student).id
    before = promote(ledger, Deployed(Mode.SHADOW, max_quality_loss=0.01))
    history = Registry(ledger).history(TASK)
    planned = planned_by_hand(ledger, TASK, history, student, router=None, share=0.25)
    assert planned == before.deployed._replace(
        candidate=student, candidate_router=router, candidate_share=0.25
    )
    step = partial(by_hand, ledger, TASK, student, router=None, share=0.25, actor="ana", reason="to see")
    with pytest.raises(StepdownError, match="promoted by somebody else meanwhile"):
        step(after=before.sequence - 1)
    assert newest(ledger) == before
    assert step(after=before.sequence).deployed == planned
