"""What is wanted of the servers: in force, on trial, put back by a rollback, made tonight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill.serving import wanted as wanting
from distill.serving.wanted import wanted_of
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Mode, NightEvent
from stepdown.settings import Settings
from stepdown.students import served_name
from tests.distill.serving.students import TASK, a_night, a_student, end, promote, settings_of

ON_BOTH_DATABASES = True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, ["http://127.0.0.1:9/v1"])


def test_a_task_that_was_never_promoted_wants_its_base(ledger: Ledger, settings: Settings) -> None:
    wanted = wanted_of(ledger, settings, "small")
    assert (wanted.in_force, wanted.students) == ((None,), ())


def test_what_is_in_force_on_trial_and_put_back_by_a_rollback(ledger: Ledger, settings: Settings) -> None:
    first, second, third = (a_student(ledger, settings, name) for name in ("one", "two", "three"))
    promote(ledger, student=first.id)
    promote(ledger, student=second.id)
    assert wanted_of(ledger, settings, "small").students == (second.id, first.id)
    promote(ledger, student=second.id, candidate=third.id, candidate_share=0.1)
    wanted = wanted_of(ledger, settings, "small")
    assert wanted.in_force == (second.id,)
    assert wanted.on_trial == {third.id: 0.1}
    assert wanted.put_back == (second.id, first.id), "by hand the candidate is dropped first"


def test_what_an_alarm_would_put_back_is_wanted_however_many_routers_came_since(
    ledger: Ledger, settings: Settings
) -> None:
    """Else what is put in force would be on no server, and fail until it is."""
    first, second = (a_student(ledger, settings, name) for name in ("one", "two"))
    promote(ledger, student=first.id)
    for router in ("a", "b", "c"):
        promote(ledger, student=second.id, artifact=router)
    assert wanted_of(ledger, settings, "small").put_back == (second.id, first.id)


def test_what_a_night_made_is_wanted_until_it_ends(ledger: Ledger, settings: Settings) -> None:
    before = a_student(ledger, settings, "before")
    night = a_night(ledger, now())
    made = [a_student(ledger, settings, name) for name in ("first", "second")]
    assert wanted_of(ledger, settings, "small").tonight == (made[1].id, made[0].id)
    ended = now()
    end(ledger, night, ended)
    wanted = wanted_of(ledger, settings, "small")
    assert wanted.tonight == ()
    assert wanted.left[served_name(made[0].id)] == ended
    assert served_name(before.id) in wanted.left


def test_what_a_night_takes_up_from_the_one_before_is_wanted_too(ledger: Ledger, settings: Settings) -> None:
    trained, exported = a_student(ledger, settings, "trained"), a_student(ledger, settings, "exported")
    night = a_night(ledger, now())
    assert wanted_of(ledger, settings, "small").tonight == ()
    found: dict[str, dict[str, Any]] = {
        "train": {"student": trained.id},
        "export": {"candidates": [{"student": exported.id}]},
    }
    for stage, what in found.items():
        ended = NightEvent(night=night.id, stage=stage, event="ended", at=now(), outcome="done", found=what)
        ledger.append([ended])
    assert set(wanted_of(ledger, settings, "small").tonight) == {trained.id, exported.id}


def test_of_a_night_that_made_many_the_newest_are_wanted(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanting, "MOST_OF_A_NIGHT", 2)
    a_night(ledger, now())
    made = [a_student(ledger, settings, name) for name in ("a", "b", "c")]
    assert wanted_of(ledger, settings, "small").tonight == (made[2].id, made[1].id)


def test_a_student_is_left_when_the_promotion_after_it_comes(ledger: Ledger, settings: Settings) -> None:
    first, second = a_student(ledger, settings, "one"), a_student(ledger, settings, "two")
    promote(ledger, student=first.id)
    started = now()
    promote(ledger, mode=Mode.ROUTE, student=second.id)
    left = wanted_of(ledger, settings, "small").left[served_name(first.id)]
    assert started <= left <= now()


def test_another_models_students_are_not_its_own(ledger: Ledger, settings: Settings) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    assert wanted_of(ledger, settings, "small").students
    assert TASK in settings.tasks
    assert wanted_of(ledger, settings, "strong").students == ()
