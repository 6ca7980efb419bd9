"""Trials over a real ledger: good students go on step by step, bad ones go back at once."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from distill.rollout import begin
from distill.rollout.look import look
from distill.rollout.progress import progress
from stepdown.ledger import Ledger
from stepdown.records import Arm, Deployed, Mode
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF
from stepdown.settings import Settings
from tests.distill.rollout.looks import SETTINGS, looked, newest
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
