"""What a look reads, from SQLite and from PostgreSQL."""

from __future__ import annotations

import math

import pytest

from distill.rollout.look import look
from distill.rollout.progress import progress
from evals.labelling import labellers
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from tests.distill.rollout.traffic import TASK, Traffic, a_router, begun, in_canary, promote, settings_of

ON_BOTH_DATABASES = True
SETTINGS = settings_of()


def test_a_good_student_goes_live_through_all_shares(ledger: Ledger) -> None:
    promote(ledger, Deployed(Mode.SHADOW))
    student, traffic = begun(ledger), Traffic(ledger)
    assert look(ledger, SETTINGS, TASK) is None
    traffic.shadow(50)
    assert "goes to 20% of the traffic: 50 labelled shadow calls of 40" in (
        look(ledger, SETTINGS, TASK) or ""
    )
    traffic.canary(400, control=0.9, canary=0.9)
    assert "goes to 50% of the traffic" in (look(ledger, SETTINGS, TASK) or "")
    traffic.canary(400, control=0.9, canary=0.9)
    assert "goes live" in (look(ledger, SETTINGS, TASK) or "")
    history = Registry(ledger).history(TASK)
    assert [p.candidate_share for p in history[1:-1]] == [0.0, 0.2, 0.5]
    assert {p.candidate for p in history[1:-1]} == {student}
    assert history[1].evidence == {"gate": "passed"}
    assert history[-1].deployed == Deployed(Mode.ROUTE, a_router(ledger, student).id, student)
    assert {p.actor for p in history[1:]} == {"auto"}
    evidence = history[-1].evidence
    assert evidence["e_value"] >= evidence["e_needed"] == pytest.approx(math.sqrt(20))
    assert evidence["e_before"] == history[-2].evidence["e_value"] >= math.sqrt(20)
    arms = evidence["arms"]
    assert arms["control"]["requests"] + arms["canary"]["requests"] == 800
    assert 200 < arms["canary"]["labelled"] < 360
    assert evidence["difference"]["low"] < 0 < evidence["difference"]["high"]
    assert {watch["name"] for watch in evidence["watches"]} >= {"failed calls", "slow answers", "regret"}


def test_slow_answers_are_an_alarm(ledger: Ledger) -> None:
    promote(ledger, Deployed(Mode.ROUTE))
    traffic = Traffic(ledger)
    traffic.served(30, model="mini", latency_ms=100)
    in_canary(ledger, 0.5)
    traffic.canary(60, labelled=False, latency_ms=140)  # the limit is 1.5 times 100 ms
    assert look(ledger, SETTINGS, TASK) is None
    traffic.canary(60, labelled=False, latency_ms=160)
    assert "alarm: slow answers" in (look(ledger, SETTINGS, TASK) or "")
    assert "slower than 150 ms" in Registry(ledger).history(TASK)[-1].reason


def test_growth_waits_for_labels_and_an_alarm_does_not(ledger: Ledger) -> None:
    checked = settings_of(check="exact", checks={"exact": {"kind": "exact"}})
    in_canary(ledger, 0.5)
    traffic = Traffic(ledger, version=labellers(checked.tasks[TASK])[0].version)
    traffic.canary(1, labelled=False, reference="x")
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE calls SET body = 'gone'")
    traffic.canary(600, control=0.9, canary=0.9)
    found = progress(ledger, checked, TASK)
    assert found is not None
    assert (found.waiting, found.e_value) == (601, 1.0)
    assert "601 requests wait for a label" in str(found)
    assert look(ledger, checked, TASK) is None
    assert "goes live" in (
        look(ledger, settings_of(), TASK) or ""
    )  # nothing waits where no check is declared
