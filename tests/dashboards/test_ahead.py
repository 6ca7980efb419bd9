"""What is drawn before somebody asks, of which tasks, and that a visit is served from it."""

from __future__ import annotations

import threading

import pytest
from starlette.responses import Response

from dashboards import ahead as module
from dashboards.ahead import LATELY_S, Ahead, Preview
from dashboards.pages import PREVIEWS, overview
from dashboards.queries.period import WORDS
from evals.rollups.fill import roll_up
from stepdown.records import Deployed, Mode, Tier
from stepdown.registry import Registry
from stepdown.settings import TaskSettings
from tests.dashboards.conftest import Open
from tests.dashboards.test_shelf import Clock
from tests.evals.ledgers import Writer


def previews(seen: list[tuple[str, str]]) -> list[Preview]:
    """Two pages that say who was drawn; people arrive on the first."""
    return [
        Preview(lambda task: seen.append(("arrival", task)), is_arrival=True),
        Preview(lambda task: seen.append(("other", task))),
    ]


def test_all_pages_of_a_task_are_drawn_while_somebody_looks_at_one() -> None:
    clock, seen = Clock(), list[tuple[str, str]]()
    ahead = Ahead(clock)
    ahead.saw("a")
    ahead.draw(previews(seen), "main")
    assert seen == [("arrival", "main"), ("arrival", "a"), ("other", "a")]
    seen.clear()
    clock.at += LATELY_S
    ahead.draw(previews(seen), "main")
    assert seen == [("arrival", "main")]


def test_the_pages_on_which_people_arrive_are_drawn_before_it_goes_on() -> None:
    seen: list[tuple[str, str]] = []
    Ahead().start(previews(seen), "main")
    assert seen == [("arrival", "main"), ("other", "main")]


def test_what_is_looked_at_is_drawn_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    again = threading.Semaphore(0)
    Ahead().start([Preview(lambda _: again.release())], "main")
    assert all(again.acquire(timeout=10.0) for _ in range(5))


def test_a_page_that_fails_keeps_no_other_from_being_drawn(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fails(task: str) -> None:
        raise ValueError(f"no page of {task}")

    ahead = Ahead()
    ahead.saw("a")
    ahead.draw([Preview(fails), Preview(seen.append)], "a")
    assert seen == ["a"]
    assert "task 'a' could not be drawn ahead" in caplog.text
    assert "no page of a" in caplog.text


def test_once_started_it_draws_when_a_task_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 3600.0)
    drawn: dict[str, threading.Event] = {"main": threading.Event(), "b": threading.Event()}
    ahead = Ahead()
    ahead.start([Preview(lambda task: drawn[task].set())], "main")
    assert drawn["main"].wait(10.0)
    ahead.saw("b")
    assert drawn["b"].wait(10.0)


def test_every_preview_is_a_page_of_the_task(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"first": TaskSettings(), "second": TaskSettings()})
    shown = [preview.see("second") for previews_of in PREVIEWS for preview in previews_of(dashboard.site)]
    assert len(shown) == len(WORDS) + 2
    for page in shown:
        assert isinstance(page, Response)
        assert page.status_code == 200
        assert "<option selected>second</option>" in bytes(page.body).decode()


def test_a_visit_makes_its_task_one_to_draw_ahead(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"first": TaskSettings(), "second": TaskSettings()})
    seen: list[tuple[str, str]] = []
    dashboard.html("/labels", task="second")
    dashboard.get("/labels", task="third")
    dashboard.site.ahead.draw(previews(seen), "first")
    assert seen == [("arrival", "first"), ("arrival", "second"), ("other", "second")]


def test_a_form_that_is_sent_is_no_look_at_a_page(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"first": TaskSettings(), "second": TaskSettings()})
    seen: list[tuple[str, str]] = []
    assert dashboard.post("/playground/advice?task=second", user="What?").status_code == 200
    dashboard.site.ahead.draw(previews(seen), "first")
    assert "second" not in {task for _, task in seen}


def test_a_visit_shows_what_was_drawn_ahead_and_what_is_in_force_now(open_dashboard: Open) -> None:
    dashboard = open_dashboard(kept_s=3600.0)
    writer = Writer(dashboard.ledger)
    writer.routed("a question", Tier.SMALL, cost=1000)
    roll_up(dashboard.ledger)
    (arrival, *_) = overview.previews(dashboard.site)
    arrival.see("default")
    writer.routed("another question", Tier.SMALL, cost=1000)
    roll_up(dashboard.ledger)
    Registry(dashboard.ledger).promote(
        "default", Deployed(Mode.SHADOW), actor="auto", reason="why", evidence={}, after=0
    )

    shown = dashboard.html("/", range="30d")
    assert "1 of 1 requests" in shown
    assert "is in mode <a" in shown
    assert ">shadow</a>" in shown
    assert "2 of 2 requests" in dashboard.html("/", range="all"), "which was not drawn ahead"
    arrival.see("default")
    assert "2 of 2 requests" in dashboard.html("/", range="30d")
