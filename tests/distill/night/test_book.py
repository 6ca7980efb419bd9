"""The nights in the ledger: events are written once, and on either database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distill.night.book import Book
from distill.night.machine import ENDED, STARTED, Ending, Outcome, Stage
from distill.night.run import look
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger
from stepdown.records import CachedAnswer, Expense, Night, Role
from tests.distill.night.rooms import TASK, Rooms, Scene, asked_before, settings_for
from tests.records import a_call, a_request

ON_BOTH_DATABASES = True

AT = datetime(2026, 11, 22, 2, 31, tzinfo=UTC)


def a_night(day: int) -> Night:
    at = AT.replace(day=day)
    return Night(id=f"{TASK}/2026-11-{day}", task=TASK, date=f"2026-11-{day}", at=at, actor="auto")


def test_an_event_is_written_once_and_who_is_second_learns_it(ledger: Ledger) -> None:
    book, other = Book(ledger, TASK), Book(ledger, TASK)
    assert book.note("n", Stage.TRAIN, STARTED, found={"a": 1})
    assert not other.note("n", Stage.TRAIN, STARTED, found={"a": 2})
    assert book.note("n", Stage.TRAIN, ENDED, Ending(Outcome.DONE, "trained", {"student": "s"}))
    assert not other.note("n", Stage.TRAIN, ENDED, Ending(Outcome.FAILED, "not trained"))
    started, ended = book.events("n")
    assert (started.found, started.outcome) == ({"a": 1}, "")
    assert (ended.outcome, ended.reason, ended.found) == ("done", "trained", {"student": "s"})


def test_a_night_is_begun_once(ledger: Ledger) -> None:
    book = Book(ledger, TASK)
    first = book.begin(a_night(22))
    again = book.begin(Night(id=first.id, task=TASK, date=first.date, at=AT + timedelta(hours=1), actor="x"))
    assert again == first
    assert book.nights() == [first]
    with pytest.raises(LedgerError, match="'sums/1999-01-01' is not in the ledger"):
        book.night("sums/1999-01-01")


def test_the_oldest_night_that_is_not_over_is_taken_up(ledger: Ledger) -> None:
    book = Book(ledger, TASK)
    nights = [book.begin(a_night(day)) for day in (20, 21, 22)]
    Book(ledger, "other").begin(Night(id="other/1", task="other", date="1", at=AT, actor="auto"))
    book.note(nights[0].id, Stage.REPORT, ENDED, Ending(Outcome.DONE))
    book.note(nights[1].id, Stage.REPORT, STARTED)
    assert book.unfinished() == nights[1]
    assert book.before(nights[1]) == nights[0]
    assert book.before(nights[0]) is None
    for night in nights[1:]:
        book.note(night.id, Stage.REPORT, ENDED, Ending(Outcome.DONE))
    assert book.unfinished() is None


def test_what_was_spent_is_what_the_clients_did_not_see(ledger: Ledger) -> None:
    asked = a_request(task=TASK)
    roles = {Role.LIVE: 1, Role.SHADOW: 20, Role.JUDGE: 300, Role.CANDIDATE: 4_000}
    calls = [a_call(request=asked.id, role=role, cost_usd_micros=cost) for role, cost in roles.items()]
    unknown = a_call(request=asked.id, role=Role.JUDGE, cost_usd_micros=None)
    answer = CachedAnswer(
        key="k",
        at=AT,
        task=TASK,
        purpose="eval",
        model="m",
        latency_ms=1.0,
        cost_usd_micros=50_000,
        body="0" * 64,
    )
    hours = Expense(
        id="e", at=AT, task=TASK, kind="training", subject="r", seconds=60.0, cost_usd_micros=600_000
    )
    elsewhere = a_request(task="other")
    of_other = a_call(request=elsewhere.id, role=Role.JUDGE, cost_usd_micros=7_000_000)
    ledger.append([asked, *calls, unknown, answer, hours, elsewhere, of_other])
    assert Book(ledger, TASK).cost() == 650_320
    assert Book(ledger, "nobody").cost() == 0


def test_the_first_request_is_the_tasks(ledger: Ledger) -> None:
    assert Book(ledger, TASK).first_request() is None
    for days, task in ((3, "other"), (2, TASK), (1, TASK)):
        ledger.append([a_request(task=task, at=AT - timedelta(days=days))])
    assert Book(ledger, TASK).first_request() == AT - timedelta(days=2)


def test_a_whole_night(ledger: Ledger, tmp_path: Path) -> None:
    asked_before(ledger, AT - timedelta(days=9))
    scene = Scene(tmp_path)
    settings = settings_for(tmp_path, sleeps=True)
    done = look(ledger, settings, {}, TASK, at=AT, parts=Rooms.of(scene))
    assert "is on trial" in (done or "")
    assert look(ledger, settings, {}, TASK, at=AT, parts=Rooms.of(scene)) is None
