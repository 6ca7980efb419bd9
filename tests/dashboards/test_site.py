"""The frame of every page: what is asked for, what goes wrong, and what is said of it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from dashboards.asked import MAX_FORM_BYTES, THEME
from dashboards.render import PAGES
from dashboards.site import FLASH, MAX_SAID_BYTES, Visit, done
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger
from stepdown.settings import TaskSettings
from tests.dashboards.conftest import Dashboard, Open


def test_what_is_not_there_is_a_page_that_says_so(dashboard: Dashboard) -> None:
    for path in ("/no/such/page", "/promotions/7", "/promotions/99999999999999999999999"):
        answer = dashboard.get(path)
        assert answer.status_code == 404, path
        assert "<h1>Not Found" in answer.text
        assert 'href="/"' in answer.text


def test_a_way_of_asking_that_a_page_does_not_take_is_refused(dashboard: Dashboard) -> None:
    answer = dashboard.client.delete("/promotions")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert dashboard.get("/theme").status_code == 405
    assert dashboard.client.head("/promotions").status_code == 200


def test_a_task_that_is_not_declared_is_not_there(dashboard: Dashboard) -> None:
    answer = dashboard.get("/promotions", task="<b>none</b>")
    assert answer.status_code == 404
    assert "&lt;b&gt;none&lt;/b&gt;" in answer.text
    assert "declared: default" in answer.text


def test_an_address_that_cannot_be_read_is_a_bad_request(dashboard: Dashboard) -> None:
    many = "&".join(f"a{number}=1" for number in range(100))
    for query in ("task=%ff", many):
        assert dashboard.client.get(f"/promotions?{query}").status_code == 400, query[:20]


def test_a_form_that_is_too_large_is_refused(dashboard: Dashboard) -> None:
    assert dashboard.post("/theme", theme="dark", filler="x" * MAX_FORM_BYTES).status_code == 413
    answer = dashboard.client.post("/sign-in", content=(b"x" * 100_000 for _ in range(30)))
    assert answer.status_code == 413


def test_a_form_that_cannot_be_read_is_refused(dashboard: Dashboard) -> None:
    assert dashboard.client.post("/theme", content="theme=é".encode()).status_code == 400
    assert dashboard.client.post("/theme", content=b"theme=%ff").status_code == 400


def test_a_field_that_a_form_lacks_is_named(dashboard: Dashboard) -> None:
    answer = dashboard.post("/promotions/move", task="default", mode="shadow", router="")
    assert answer.status_code == 400
    assert "&#39;after&#39;" in answer.text
    assert (
        dashboard.post("/promotions/move", task="default", mode="shadow", router="", after="x").status_code
        == 400
    )


def test_a_ledger_that_is_away_is_a_page(dashboard: Dashboard, caplog: pytest.LogCaptureFixture) -> None:
    file = Path(str(dashboard.ledger.engine.url.database))
    dashboard.html("/promotions")
    dashboard.ledger.close()
    shutil.rmtree(file.parent / "away", ignore_errors=True)
    moved = file.rename(file.with_suffix(".away"))
    for beside in file.parent.glob(f"{file.name}-*"):
        beside.unlink()
    file.write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING):
        answer = dashboard.get("/promotions")
    assert answer.status_code == 503
    assert "the ledger refused a read" in answer.text
    assert "GET /promotions" in caplog.text
    dashboard.ledger.close()
    moved.rename(file)
    assert dashboard.get("/promotions").status_code == 200


def test_a_ledger_that_refuses_a_form_is_a_page(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = dashboard.token()

    def refuses(self: Ledger, *_: object) -> None:
        raise LedgerError("the ledger refused a read: disk is full")

    monkeypatch.setattr(Ledger, "rows", refuses)
    answer = dashboard.post(
        "/promotions/move", token=token, task="default", mode="shadow", router="", after="0"
    )
    assert answer.status_code == 503
    assert "disk is full" in answer.text


def test_every_page_says_how_long_it_took(dashboard: Dashboard) -> None:
    for path in ("/promotions", "/promotions/9", "/"):
        name, took = dashboard.get(path).headers["server-timing"].split(";dur=")
        assert name == "page"
        assert float(took) > 0


def test_the_menu_has_every_page_and_marks_this_one(dashboard: Dashboard) -> None:
    html = dashboard.html("/promotions")
    for path, name in PAGES:
        assert f'<a href="{path}?task=default"' in html
        assert f">{name}</a>" in html
    assert html.count('aria-current="page"') == 1


def test_a_task_is_chosen_where_there_are_several(open_dashboard: Open) -> None:
    tasks = {'<i>one</i> & "two"': TaskSettings(), "other": TaskSettings()}
    dashboard = open_dashboard(tasks=tasks)
    html = dashboard.html("/promotions", task="other")
    assert "<option selected>other</option>" in html
    assert "&lt;i&gt;one&lt;/i&gt;" in html
    assert "<i>one" not in html
    assert "task=%3Ci%3Eone%3C/i%3E%20%26%20%22two%22" in dashboard.html("/promotions")


def test_where_no_task_is_declared_there_is_the_default_one(open_dashboard: Open) -> None:
    assert "task=default" in open_dashboard(tasks={}).html("/promotions")


def test_what_was_done_is_said_once(dashboard: Dashboard) -> None:
    move = {"task": "default", "mode": "shadow", "router": "", "after": "0"}
    answer = dashboard.client.post(
        "/promotions/move", data={"token": dashboard.token(), **move}, follow_redirects=True
    )
    assert '<p class="said" role="status">Task default is in mode shadow now.</p>' in answer.text
    assert "in mode shadow now" not in dashboard.html("/promotions")


def test_a_part_leaves_what_was_said_to_the_page(dashboard: Dashboard) -> None:
    dashboard.client.cookies.set(FLASH, quote("<b>done</b>"))
    dashboard.client.get("/promotions", headers={"hx-request": "true"})
    html = dashboard.html("/promotions")
    assert "&lt;b&gt;done&lt;/b&gt;" in html


@pytest.mark.parametrize("said", ["x" * 9_000, "漢" * 2_000, "🙂" * 2_000, "\ud800 x"])
def test_what_is_said_fits_a_cookie(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(Visit, "render", lambda visit, *_, **__: done(visit, "/", said))
    cookie = dashboard.get("/").headers["set-cookie"].split(f"{FLASH}=")[1].split(";")[0]
    assert 3 < len(cookie) <= MAX_SAID_BYTES


def test_the_look_is_kept_and_anything_else_is_none(dashboard: Dashboard) -> None:
    assert "data-theme" not in dashboard.html("/promotions")
    dashboard.client.cookies.set(THEME, '"><script>alert(1)</script>')
    assert "data-theme" not in dashboard.html("/promotions")
    dashboard.client.cookies.set(THEME, "dark")
    assert '<html lang="en" data-theme="dark">' in dashboard.html("/promotions")
    assert 'data-theme="dark"' in dashboard.get("/no/such").text


def test_choosing_a_look_or_a_task_leads_back_to_the_page(dashboard: Dashboard) -> None:
    html = dashboard.html("/promotions/move", mode="strong", task="default")
    assert 'name="to" value="/promotions/move?mode=strong&amp;task=default"' in html
