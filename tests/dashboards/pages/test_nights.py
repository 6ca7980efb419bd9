"""Nights on the dashboard: what each did, what is due, and how one is started."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dashboards.pages.nights import DOES
from dashboards.queries.nights import A_PAGE
from distill.night.book import Book
from distill.night.machine import ENDED, STARTED, Ending, Outcome, Stage
from distill.night.run import look
from stepdown.ledger import Ledger
from stepdown.records import Night
from tests.dashboards.conftest import Dashboard, Open
from tests.distill.night.rooms import TASK, Rooms, Scene, asked_before, settings_for

ON_BOTH_DATABASES = True
AT = datetime(2026, 11, 22, 2, 31, tzinfo=UTC)
NIGHT = f"{TASK}/2026-11-22"


@pytest.fixture
def nightly(open_dashboard: Open, tmp_path: Path) -> Dashboard:
    """A dashboard of a task that distils."""
    settings = settings_for(tmp_path)
    return open_dashboard(tasks=settings.tasks, models=settings.models)


def one_night(dashboard: Dashboard, folder: Path, scene: Scene | None = None) -> None:
    """Run the night of `AT` to its end, the other rooms being fakes."""
    asked_before(dashboard.ledger, AT - timedelta(days=9))
    rooms = Rooms.of(scene or Scene(folder))
    assert look(dashboard.ledger, settings_for(folder), {}, TASK, at=AT, parts=rooms)


def words(page: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_without_nights_it_says_when_the_first_is_or_how_to_have_one(
    nightly: Dashboard, open_dashboard: Open
) -> None:
    page = words(nightly.html("/nights"))
    assert "There was no night yet" in page
    assert "02:30 UTC" in page
    assert "02:30 UTC" in words(nightly.html("/"))
    without = open_dashboard()
    assert "[tasks.default.student]" in without.html("/nights")
    assert "This task distils no students" in without.html("/")


def test_a_night_is_shown_with_what_each_stage_did_and_decided(nightly: Dashboard, tmp_path: Path) -> None:
    one_night(nightly, tmp_path)
    listed = nightly.html("/nights")
    assert f"/nights/{NIGHT}?" in listed
    assert "label done, slices done" in listed
    page = nightly.html(f"/nights/{NIGHT}")
    shown = words(page)
    assert "is on trial" in shown
    for stage in Stage:
        assert f"<strong>{stage}</strong>" in page
    assert "overall  -8%" in page, "the gate's table, as text"
    assert "The stages of night" in page
    assert "What it found" in page
    report = nightly.get(f"/nights/{NIGHT}", **{"as": "report"})
    assert report.headers["content-type"].startswith("application/json")
    assert json.loads(report.text)["id"] == NIGHT


def test_why_a_night_ended_early_is_what_stands_first(nightly: Dashboard, tmp_path: Path) -> None:
    one_night(nightly, tmp_path, Scene(tmp_path, passes={}))
    listed = words(nightly.html("/nights"))
    assert "gate stopped: no candidate passed: adapter: fresh sample: 8.0% worse" in listed
    assert nightly.html("/nights").count('class="skipped"') >= 4


def test_a_stage_under_way_is_shown_as_such(nightly: Dashboard) -> None:
    book = Book(nightly.ledger, TASK)
    book.begin(Night(id=NIGHT, task=TASK, date="2026-11-22", at=AT, actor="auto"))
    book.note(NIGHT, Stage.LABEL, STARTED)
    book.note(NIGHT, Stage.LABEL, ENDED, Ending(Outcome.DONE, "<i>7</i> labels made", {"seconds": 1.5}))
    book.note(NIGHT, Stage.SLICES, STARTED)
    page = nightly.html(f"/nights/{NIGHT}")
    assert "&lt;i&gt;7&lt;/i&gt; labels made" in page
    assert "it is under way" in words(page)
    assert words(nightly.html("/nights")).count("Under way") == 1
    assert "Start a night now" not in nightly.html("/nights")


def test_a_night_of_another_task_or_of_none_is_not_there(nightly: Dashboard) -> None:
    assert nightly.get(f"/nights/{NIGHT}").status_code == 404
    assert nightly.get("/nights/no/such/night").status_code == 404


def test_a_person_starts_a_night_once(nightly: Dashboard) -> None:
    page = words(nightly.html("/nights/start"))
    for does in DOES.values():
        assert does in page
    started = nightly.post("/nights/start")
    assert started.status_code == 303
    (night,) = Book(nightly.ledger, TASK).nights()
    assert night.actor not in ("", "auto")
    assert night.id in words(nightly.html(started.headers["location"]))
    assert "A night is under way" in nightly.html("/nights/start")
    again = nightly.post("/nights/start")
    assert again.status_code == 409
    assert "is under way" in again.text
    assert nightly.post("/nights/start", token="").status_code == 403
    assert len(Book(nightly.ledger, TASK).nights()) == 1


def test_a_task_that_distils_nothing_starts_no_night(dashboard: Dashboard) -> None:
    assert "distils no students" in dashboard.html("/nights/start")
    assert dashboard.post("/nights/start").status_code == 409
    assert not Book(dashboard.ledger, "default").nights()


def test_nights_are_shown_page_by_page(nightly: Dashboard, ledger: Ledger) -> None:
    nights = [AT + timedelta(days=day) for day in range(A_PAGE + 2)]
    ledger.append(
        [
            Night(id=f"{TASK}/{at:%Y-%m-%d}", task=TASK, date=f"{at:%Y-%m-%d}", at=at, actor="auto")
            for at in nights
        ]
    )
    first = nightly.html("/nights")
    assert first.count('class="night"') == A_PAGE
    older = re.search(r'href="([^"]*before=[^"]*)"', first)
    assert older is not None
    rest = nightly.html(older[1].replace("&amp;", "&"))
    assert rest.count('class="night"') == 2
    assert f"{AT:%Y-%m-%d}" in rest
    assert ">Older</a>" not in rest


def test_a_page_that_holds_all_nights_leads_to_no_older_ones(nightly: Dashboard, ledger: Ledger) -> None:
    nights = [AT + timedelta(days=day) for day in range(A_PAGE)]
    ledger.append(
        [
            Night(id=f"{TASK}/{at:%Y-%m-%d}", task=TASK, date=f"{at:%Y-%m-%d}", at=at, actor="auto")
            for at in nights
        ]
    )
    assert ">Older</a>" not in nightly.html("/nights")


def test_older_than_a_night_that_is_not_there_is_not_there(nightly: Dashboard, ledger: Ledger) -> None:
    nights = [
        Night(id=f"{task}/2026-11-22", task=task, date="2026-11-22", at=AT, actor="auto")
        for task in (TASK, "other")
    ]
    ledger.append([nights[0], replace(nights[1], at=AT + timedelta(days=1))])
    for before in ("no/such/night", "other/2026-11-22", NIGHT):
        answer = nightly.get("/nights", before=before)
        assert answer.status_code == 404, before
        assert "has no night before" in answer.text
