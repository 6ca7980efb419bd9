"""Tests of the overview's alarms."""

from __future__ import annotations

from datetime import datetime, timedelta

from dashboards.queries.overview_alarms import Alarm, read_alarms
from evals.rollups.fill import roll_up
from evals.summary.documents import Alarm as Found
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import ACTOR, Deployed, Mode, Reason, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings
from tests.evals.ledgers import START, Writer

ON_BOTH_DATABASES = True

NOON = START + timedelta(hours=1)


def alarms(ledger: Ledger, *kept: Found, at: datetime = NOON) -> list[Alarm]:
    """The alarms, but for those of workers, of which none runs here."""
    found = read_alarms(ledger, Settings(), "default", kept, at)
    return [alarm for alarm in found if "worker of queue" not in alarm.said]


def promote(ledger: Ledger, mode: Mode, after: int, actor: str = ACTOR, **evidence: object) -> None:
    """Put a mode in force."""
    to = Deployed(mode=mode)
    assert Registry(ledger).promote("default", to, actor=actor, reason="why", evidence=evidence, after=after)


def test_a_quiet_ledger_has_no_alarm_but_of_its_workers(ledger: Ledger) -> None:
    assert alarms(ledger) == []
    assert "worker of queue" in read_alarms(ledger, Settings(), "default", (), NOON)[0].said


def test_a_worker_is_asked_anew_and_not_as_it_was_kept(ledger: Ledger) -> None:
    for queue in ("labels", "fits", "evals"):
        ledger.beat(f"worker:{queue}")
    stale = Found("error", "worker", "the worker of queue 'labels' was last seen 900 s ago")
    assert read_alarms(ledger, Settings(), "default", (stale,), now()) == []


def test_what_the_workers_found_is_shown_the_urgent_first(ledger: Ledger) -> None:
    kept = (
        Found("warning", "price", "model 'x' has no price"),
        Found("error", "bound", "the bound is broken"),
    )
    first, second = alarms(ledger, *kept)
    assert (first.said, first.path, first.is_bad) == ("The bound is broken.", "/promotions", True)
    assert (second.said, second.is_bad) == ("Model 'x' has no price.", False)


def test_many_failures_are_an_alarm_and_few_are_not(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(30):
        request = writer.request(f"question {number}", status=502 if number < 3 else 200)
        writer.call(request, Tier.STRONG, status=500 if number < 3 else 200)
    roll_up(ledger)
    requests, calls = alarms(ledger)
    assert requests.said == "3 of 30 requests in the last 2 hours got an error."
    assert (requests.path, requests.query) == ("/requests", {"status": "failed"})
    assert calls.said == "3 of 30 calls of large-1 in the last 2 hours failed."
    assert alarms(ledger, at=NOON + timedelta(hours=6)) == []


def test_a_few_requests_say_nothing(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.call(writer.request("question", status=502), Tier.STRONG, status=500)
    roll_up(ledger)
    assert alarms(ledger) == []


def test_a_small_model_that_fails_is_an_alarm(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(25):
        writer.routed(f"question {number}", Tier.STRONG, reason=Reason.FALLBACK)
    roll_up(ledger)
    (alarm,) = alarms(ledger)
    assert "25 of 25 requests" in alarm.said
    assert alarm.query == {"reason": "small_model_failed"}


def test_a_step_back_is_an_alarm_until_somebody_acts(ledger: Ledger) -> None:
    promote(ledger, Mode.ROUTE, 0)
    assert alarms(ledger, at=now()) == []
    promote(ledger, Mode.SHADOW, 1)
    (alarm,) = alarms(ledger, at=now())
    assert "went back from mode route to mode shadow by itself: why" in alarm.said
    assert alarm.path == "/promotions/2"
    assert alarms(ledger, at=now() + timedelta(days=4)) == []
    promote(ledger, Mode.STRONG, 2, actor="person")
    assert alarms(ledger, at=now()) == []


def test_a_rollback_is_an_alarm_whatever_the_mode(ledger: Ledger) -> None:
    promote(ledger, Mode.ROUTE, 0)
    promote(ledger, Mode.ROUTE, 1, rollback_of=[1])
    (alarm,) = alarms(ledger, at=now())
    assert alarm.said == "Promotion 2 took a step back by itself: why"
