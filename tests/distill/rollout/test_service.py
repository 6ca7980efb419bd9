"""A student in service over a real ledger: what takes it out again, and what is not held against it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from distill.night.machine import ENDED, STARTED, Stage
from distill.rollout.look import look
from distill.rollout.progress import progress
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode, Night, NightEvent, Role, Tier
from stepdown.rollback import ROLLBACK_OF
from stepdown.settings import ModelSettings
from stepdown.students import served_name
from tests.distill.rollout.looks import SETTINGS, newest
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


def test_regret_is_watched_by_the_bound_that_a_person_set(ledger: Ledger) -> None:
    student = a_student(ledger)
    live = Deployed(Mode.ROUTE, a_router(ledger, student).id, student, max_quality_loss=0.9)
    promote(ledger, live, actor="ana")
    Traffic(ledger).explored(120, student=student, small=0.7)
    assert look(ledger, SETTINGS, TASK) is None  # where the bound of the settings would be an alarm


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


@pytest.mark.parametrize(
    ("of_task", "stage", "ends", "minutes", "goes"),
    [
        (TASK, Stage.RELABEL, True, 5, False),
        ("other", Stage.EVALUATE, True, 5, False),
        ("other", Stage.EVALUATE, False, 5, False),
        ("other", Stage.EVALUATE, False, 31, True),  # it was killed, and its time is up
        ("other", Stage.TRAIN, True, 5, True),
        ("elsewhere", Stage.EVALUATE, True, 5, True),
    ],
)
def test_a_student_in_service_is_not_called_slow_while_a_night_asks_its_servers(
    ledger: Ledger, of_task: str, stage: Stage, ends: bool, minutes: float, goes: bool
) -> None:
    distilled = settings_of(student={"stage_minutes": {"all": 30}}).tasks[TASK]
    settings = msgspec.structs.replace(
        SETTINGS,
        models={**SETTINGS.models, "small two": ModelSettings(model="mini two")},
        tasks={
            TASK: distilled,
            "other": distilled,
            "elsewhere": msgspec.structs.replace(distilled, small="small two"),
        },
    )
    promote(ledger, Deployed(Mode.ROUTE))
    traffic = Traffic(ledger)
    traffic.served(100, model="mini")
    student = a_student(ledger)
    promote(ledger, Deployed(Mode.ROUTE, None, student))
    night = Night(id="n", task=of_task, date="2026-11-22", at=CLOCK.now(), actor="auto")
    ledger.append([night, NightEvent(night="n", stage=stage, event=STARTED, at=CLOCK.now())])
    CLOCK.at += timedelta(minutes=minutes)
    slow: dict[str, Any] = {"model": served_name(student), "student": student, "latency_ms": 900.0}
    traffic.served(30, **slow)
    if ends:
        ledger.append([NightEvent(night="n", stage=stage, event=ENDED, at=CLOCK.now())])
    assert ("slow answers" in (look(ledger, settings, TASK) or "")) is goes
    if ends and not goes:
        traffic.served(30, **slow)
        assert "slow answers" in (look(ledger, settings, TASK) or "")


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
