"""Rollouts over a real ledger: good students go live step by step, bad ones go back at once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from distill.rollout import begin, roll_back
from distill.rollout.look import look
from distill.rollout.progress import progress
from stepdown.ledger import Ledger, schema
from stepdown.records import Arm, Deployed, Mode, Promotion, Role, Tier
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF, rollback_of
from stepdown.settings import Settings
from stepdown.students import served_name
from tests.distill.rollout.traffic import (
    CLOCK,
    TASK,
    Traffic,
    a_router,
    a_student,
    begun,
    in_canary,
    promote,
    settings_of,
)
from tests.records import a_call

SETTINGS = settings_of()


def newest(ledger: Ledger) -> Promotion:
    found = Registry(ledger).current(TASK)
    assert found is not None
    json.dumps(found.evidence, allow_nan=False)
    return found


def looked(ledger: Ledger, settings: Settings = SETTINGS, **how: Any) -> str:
    done = look(ledger, settings, TASK, **how)
    assert done is not None
    assert look(ledger, settings, TASK, **how) is None  # the same evidence is no reason to do more
    return done


def test_a_student_that_fails_in_the_canary_is_rolled_back(ledger: Ledger) -> None:
    before = promote(ledger, Deployed(Mode.SHADOW))
    student, traffic = in_canary(ledger), Traffic(ledger)
    traffic.canary(300, control=0.95, canary=0.3)
    assert "is rolled back from canary of 20%: alarm: loss of quality" in looked(ledger)
    last = newest(ledger)
    assert last.deployed == before.deployed
    assert last.evidence[ROLLBACK_OF] == [2, 3]
    assert last.evidence["arms"]["canary"]["quality"] < 0.5
    assert last.evidence["difference"]["high"] < 0
    assert Registry(ledger).artifact(student).kind == "student"  # nothing is deleted


def test_a_rolled_back_student_is_not_begun_again_by_itself(ledger: Ledger) -> None:
    student, traffic = begun(ledger), Traffic(ledger)
    traffic.shadow(20, failing=1.0)
    assert "is rolled back from shadow: alarm: failed calls 100.0% of 20" in looked(ledger)
    router = a_router(ledger, student).id
    assert not begin(ledger, SETTINGS, TASK, student, router, {})
    assert begin(
        ledger, SETTINGS, TASK, a_student(ledger, "two"), a_router(ledger, a_student(ledger, "two")).id, {}
    )


def test_a_student_in_the_shadow_needs_labelled_answers(ledger: Ledger) -> None:
    begun(ledger)
    traffic = Traffic(ledger)
    traffic.shadow(39)
    traffic.shadow(100, labelled=False)
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert (found.stage, found.shadow_labelled, found.shadow_needed, found.next) == ("shadow", 39, 40, "20%")
    traffic.shadow(1)
    assert "20%" in looked(ledger)


@pytest.mark.parametrize("small", [True, False])
def test_regret_in_the_shadow_is_an_alarm_where_the_router_would_send_it(ledger: Ledger, small: bool) -> None:
    student = a_student(ledger)
    router = a_router(ledger, student, small=small).id
    promote(ledger, Deployed(Mode.SHADOW, None, None, student, router))
    Traffic(ledger).shadow(39, strong=1.0, small=0.7)
    done = look(ledger, SETTINGS, TASK)
    assert ("alarm: regret" in done) if done is not None else not small


def test_one_prompt_asked_over_and_over_is_one_observation(ledger: Ledger) -> None:
    """One bad answer, given a hundred times, is not a hundred bad answers."""
    begun(ledger)
    Traffic(ledger).shadow(39, strong=1.0, small=0.0, prompt_hash="p" * 32)
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert [watch.n for watch in found.watches if watch.name == "regret"] == [1]


@pytest.mark.parametrize("unanswered", [False, True])
def test_failing_calls_are_an_alarm_without_any_label(ledger: Ledger, unanswered: bool) -> None:
    in_canary(ledger)
    Traffic(ledger).canary(100, failing=1.0, labelled=False, unanswered=unanswered)
    assert "alarm: failed calls 100.0%" in looked(ledger)


def test_what_was_never_answered_is_bad_and_needs_no_label(ledger: Ledger) -> None:
    """A lenient limit on failed calls, so that quality alone can tell."""
    lenient = settings_of(student={"error_rate": 0.9})
    in_canary(ledger, 0.5)
    Traffic(ledger).canary(120, failing=0.5, unanswered=True)
    done = looked(ledger, lenient)
    assert "alarm: loss of quality" in done
    assert newest(ledger).evidence["arms"]["canary"]["unanswered"] > 20


def test_an_arm_that_loses_its_labels_does_not_grow(ledger: Ledger) -> None:
    in_canary(ledger, 0.5)
    traffic = Traffic(ledger)
    lost = iter(range(10**6))
    traffic.canary(500, labelled=lambda arm: arm is Arm.CONTROL or next(lost) % 2 == 0)
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert found.e_value is not None
    assert found.e_needed is not None
    assert found.e_value > found.e_needed
    assert found.reason.startswith("the canary loses labels")
    assert found.arms["canary"].counts.unlabelled > 50 > found.arms["control"].counts.unlabelled == 0


def test_clients_that_hang_up_are_nobodys_fault(ledger: Ledger) -> None:
    in_canary(ledger, 0.5)
    Traffic(ledger).canary(200, failing=1.0, unanswered=True, labelled=False)
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE requests SET status = 499 WHERE status = 502")
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert found.arms["canary"].counts.hung_up > 50
    assert not found.alarms


def test_slow_or_not_is_not_asked_of_too_few(ledger: Ledger) -> None:
    promote(ledger, Deployed(Mode.ROUTE))
    traffic = Traffic(ledger)
    traffic.served(19, model="mini", latency_ms=1)
    in_canary(ledger, 0.5)
    traffic.canary(60, labelled=False, latency_ms=1000)
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert "slow answers: nothing seen (too few answers of the model before)" in map(str, found.watches)


def test_nothing_is_earned_while_the_small_model_sleeps(ledger: Ledger) -> None:
    """Strong answers both arms then, and no canary is worse than that."""
    in_canary(ledger, 0.5)
    Traffic(ledger).canary(600, control=0.95, canary=0.95)
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert found.e_value is not None
    assert found.e_value > 2
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE decisions SET reason = 'small_model_asleep'")
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert (found.e_value, found.arms["canary"].counts.requests) == (1.0, 0)


def test_a_trial_that_began_when_the_clock_was_years_ahead_is_ended(ledger: Ledger) -> None:
    began = promote(ledger, Deployed(Mode.SHADOW)).at
    begun(ledger)
    assert "undecided" in (look(ledger, SETTINGS, TASK, at=began - timedelta(days=3650)) or "")
    assert newest(ledger).candidate is None


def test_what_stays_undecided_is_rolled_back_in_the_end(ledger: Ledger) -> None:
    student = in_canary(ledger)
    Traffic(ledger).canary(10)
    since = newest(ledger).at
    assert look(ledger, SETTINGS, TASK, at=since + timedelta(days=6.9)) is None
    done = looked(ledger, at=since + timedelta(days=7))
    assert "undecided after 7 days" in done
    assert not begin(ledger, SETTINGS, TASK, student, a_router(ledger, student).id, {})


def test_the_days_of_the_canary_begin_with_the_canary(ledger: Ledger) -> None:
    student, router = a_student(ledger), a_router(ledger, a_student(ledger)).id
    at = Registry(ledger)
    trial = Deployed(Mode.SHADOW, None, None, student, router)
    first = promote(ledger, trial)
    CLOCK.at += timedelta(days=6)
    promote(ledger, trial._replace(candidate_share=0.2))
    assert look(ledger, SETTINGS, TASK, at=first.at + timedelta(days=12)) is None
    assert "undecided" in looked(ledger, at=first.at + timedelta(days=13, seconds=1))
    assert at.deployed(TASK) == Deployed(Mode.SHADOW)


def test_manual_promotion_waits_for_a_person_but_not_to_go_back(ledger: Ledger) -> None:
    manual = settings_of(promotion="manual")
    begun(ledger, manual)
    traffic = Traffic(ledger)
    traffic.shadow(50)
    assert look(ledger, manual, TASK) is None
    found = progress(ledger, manual, TASK)
    assert found is not None
    assert "`stepdown promote` makes it" in found.reason
    assert look(ledger, manual, TASK, at=newest(ledger).at + timedelta(days=30)) is None  # it is earned
    traffic.shadow(30, failing=1.0)
    assert "alarm: failed calls" in looked(ledger, manual)


def test_conversations_stay_in_their_arm_and_count_once(ledger: Ledger) -> None:
    student, traffic = in_canary(ledger), Traffic(ledger)

    def talk(number: int) -> dict[str, str]:
        return {"conversation": f"c{number % 40}"}

    traffic.canary(200, control=0.9, canary=0.9, unit=talk)
    first = progress(ledger, SETTINGS, TASK)
    assert first is not None
    assert sum(arm.units for arm in first.arms.values()) == 40
    canary = first.arms["canary"].counts.requests
    promote(ledger, Registry(ledger).deployed(TASK)._replace(candidate_share=0.5))
    traffic.canary(200, control=0.9, canary=0.9, unit=talk)
    second = progress(ledger, SETTINGS, TASK)
    assert second is not None
    assert sum(arm.units for arm in second.arms.values()) == 40
    # Who was in the canary stays there; who went over to it is counted in the arm of the beginning alone.
    assert second.arms["canary"].counts.requests == 2 * canary
    assert second.arms["canary"].units == first.arms["canary"].units
    went_over = 400 - sum(arm.counts.requests for arm in second.arms.values())
    assert went_over > 0
    assert student == newest(ledger).candidate


def test_what_comes_just_after_a_step_is_left_out(ledger: Ledger) -> None:
    """Proxies that have not loaded the step yet draw by another share."""
    in_canary(ledger)
    slow = settings_of()
    slow = Settings(
        **{**{n: getattr(slow, n) for n in slow.__struct_fields__}, "proxy": type(slow.proxy)(reload_s=1)}
    )
    traffic = Traffic(ledger)
    traffic.canary(40)  # 1.1 s to 5 s after the step: those of 3 s and more are counted
    found = progress(ledger, slow, TASK)
    assert found is not None
    assert sum(arm.counts.requests for arm in found.arms.values()) == 21


def test_a_student_in_service_is_watched_and_goes_back_to_what_was_before_its_rollout(ledger: Ledger) -> None:
    before = promote(ledger, Deployed(Mode.ROUTE, a_router(ledger, None).id))
    student = in_canary(ledger)
    live = Deployed(Mode.ROUTE, a_router(ledger, student).id, student)
    promote(ledger, live)
    promote(ledger, live._replace(artifact=a_router(ledger, student, small=False).id))  # fitted since
    traffic = Traffic(ledger)
    traffic.served(200, model=served_name(student), student=student)
    traffic.explored(40, student=student)
    assert look(ledger, SETTINGS, TASK) is None
    found = progress(ledger, SETTINGS, TASK)
    assert found is not None
    assert (found.stage, found.share, found.alarms) == ("live", 1.0, ())
    traffic.served(30, model=served_name(student), student=student, failing=1.0)
    assert "in service is rolled back: alarm: failed calls" in (look(ledger, SETTINGS, TASK) or "")
    assert newest(ledger).deployed == before.deployed
    assert newest(ledger).evidence[ROLLBACK_OF] == [2, 3, 4, 5]
    assert look(ledger, SETTINGS, TASK) is None
    assert progress(ledger, SETTINGS, TASK) is None


def test_regret_in_service_is_an_alarm(ledger: Ledger) -> None:
    student = a_student(ledger)
    promote(ledger, Deployed(Mode.ROUTE, a_router(ledger, student).id, student))
    traffic = Traffic(ledger)
    traffic.explored(60, student=student, small=0.0, gain=0.1)  # strong would have answered
    assert look(ledger, SETTINGS, TASK) is None
    traffic.explored(60, student=student, small=0.7)
    assert "alarm: regret" in (look(ledger, SETTINGS, TASK) or "")
    assert newest(ledger).deployed == Deployed()


def test_what_an_evaluation_asks_a_student_in_service_is_not_its_traffic(ledger: Ledger) -> None:
    """A night asks it many prompts at a time beside the candidate: slow, and nobody waits for it."""
    promote(ledger, Deployed(Mode.ROUTE))
    traffic = Traffic(ledger)
    traffic.served(100, model="mini")
    student = a_student(ledger)
    promote(ledger, Deployed(Mode.ROUTE, None, student))
    traffic.served(50, model=served_name(student), student=student)
    asked = [row.id for row in ledger.rows(select(schema.requests.c.id))][-50:]
    later, small = CLOCK.now() + timedelta(hours=1), {"tier": Tier.SMALL, "model": served_name(student)}
    slow = {**small, "role": Role.SHADOW, "at": later, "latency_ms": 900.0}
    ledger.append([a_call(request=request, **slow) for request in asked])
    assert look(ledger, SETTINGS, TASK) is None
    traffic.served(30, model=served_name(student), student=student, latency_ms=900.0)
    assert "slow answers" in (look(ledger, SETTINGS, TASK) or "")


@pytest.mark.parametrize(("minutes", "goes"), [(9, False), (11, True)])
@pytest.mark.parametrize("failed", [(404, None), (0, "model 'mini' cannot be reached: Connection refused")])
def test_a_student_that_its_server_does_not_have_yet_is_waited_for(
    ledger: Ledger, failed: tuple[int, str | None], minutes: float, goes: bool
) -> None:
    """Else a student that a rollback puts back, or whose server starts anew, would be taken out meanwhile."""
    student = a_student(ledger)
    promote(ledger, Deployed(Mode.ROUTE, None, student))
    traffic = Traffic(ledger)
    absent: dict[str, Any] = {
        "model": served_name(student),
        "student": student,
        "failing": 1.0,
        "status_of_failed": failed[0],
        "error_of_failed": failed[1],
    }
    traffic.served(30, **absent)
    CLOCK.at += timedelta(minutes=minutes)
    traffic.served(30, **absent)
    assert (look(ledger, SETTINGS, TASK) is not None) is goes


def test_a_good_year_does_not_outweigh_a_bad_day(ledger: Ledger) -> None:
    student = a_student(ledger)
    since = promote(ledger, Deployed(Mode.ROUTE, None, student)).at
    traffic = Traffic(ledger)
    traffic.served(3000, model=served_name(student), student=student)
    CLOCK.at = since + timedelta(days=15)
    traffic.served(12, model=served_name(student), student=student, failing=0.5)
    assert "failed calls" in (look(ledger, SETTINGS, TASK, at=CLOCK.at) or "")


def test_a_student_in_service_that_fails_goes_with_the_trial_beside_it(ledger: Ledger) -> None:
    student = a_student(ledger, "old")
    promote(ledger, Deployed(Mode.SHADOW))
    promote(ledger, Deployed(Mode.ROUTE, None, student))
    begun(ledger, name="new")
    Traffic(ledger).served(30, model=served_name(student), student=student, failing=1.0)
    assert "in service is rolled back" in (look(ledger, SETTINGS, TASK) or "")
    assert newest(ledger).deployed == Deployed(Mode.SHADOW)


def test_students_are_watched_on_though_the_task_makes_no_more(ledger: Ledger) -> None:
    settings = settings_of()
    task = msgspec.structs.replace(settings.tasks[TASK], student=None)
    settings = msgspec.structs.replace(settings, tasks={TASK: task})
    assert look(ledger, settings, TASK) is None
    in_canary(ledger)
    Traffic(ledger).canary(60, failing=1.0)
    assert "alarm: failed calls" in (look(ledger, settings, TASK) or "")
    assert newest(ledger).candidate is None


def test_a_candidate_whose_router_is_gone_is_rolled_back(ledger: Ledger) -> None:
    begun(ledger)
    with ledger.writing() as connection:
        connection.exec_driver_sql("DELETE FROM artifacts WHERE kind = 'router'")
    Traffic(ledger).shadow(5)
    done = look(ledger, SETTINGS, TASK)
    assert done is not None
    assert "is not in the registry" in done


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


def test_of_two_looks_at_once_one_makes_the_step(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(ledger)
    Traffic(ledger).shadow(50)
    stale = Registry(ledger).history(TASK)
    assert "20%" in looked(ledger)
    monkeypatch.setattr(Registry, "history", lambda self, task: stale)
    assert look(ledger, SETTINGS, TASK) is None


def test_a_task_that_distils_nothing_is_left_alone(ledger: Ledger) -> None:
    assert look(ledger, SETTINGS, "undeclared") is None
    assert look(ledger, SETTINGS, TASK) is None
    assert look(ledger, Settings(tasks={TASK: type(SETTINGS.tasks[TASK])()}), TASK) is None


WHY_NOT = {
    "on trial": Deployed(Mode.SHADOW, candidate="f" * 64),
    "put the task on strong": Deployed(Mode.STRONG),
}


@pytest.mark.parametrize("why", WHY_NOT)
def test_a_trial_is_not_begun_where_something_is_in_its_way(ledger: Ledger, why: str) -> None:
    from distill.rollout.steps import why_not_begin

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
