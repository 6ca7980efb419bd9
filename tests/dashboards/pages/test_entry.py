"""The way in and out, and the choice of light or dark; none of it leads to another place."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards.access import COOKIE
from dashboards.asked import THEME
from dashboards.session import open_signer
from tests.dashboards.conftest import Dashboard

ELSEWHERE = [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\r\nset-cookie: a=b",
    "",
    "promotions",
]


def test_who_is_not_signed_in_is_led_back_to_what_they_asked_for(guarded: Dashboard) -> None:
    asked = guarded.get("/promotions", task="default", q="a&b")
    address = urlsplit(asked.headers["location"])
    assert address.path == "/sign-in"
    to = parse_qs(address.query)["to"][0]
    assert 'name="to" value="/promotions?task=default&amp;q=a%26b"' in guarded.html("/sign-in", to=to)
    answer = guarded.post("/sign-in", token="", key="open sesame", to=to)
    assert answer.headers["location"] == "/promotions?task=default&q=a%26b"
    assert guarded.html("/promotions")


def test_a_session_that_began_by_https_is_not_sent_by_plain_http(guarded: Dashboard) -> None:
    for origin, is_kept_from_http in (("https://127.0.0.1", True), ("http://127.0.0.1", False)):
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        answer = guarded.post("/sign-in", headers, token="", key="open sesame")
        assert answer.status_code == 303
        assert ("; secure" in answer.headers["set-cookie"].lower()) is is_kept_from_http, origin


def test_a_wrong_key_opens_nothing(guarded: Dashboard) -> None:
    for key in ("", "wrong", "é\ud800".encode("utf-8", "replace").decode(), "x" * 5000):
        answer = guarded.sign_in(key)
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert COOKIE not in answer.headers.get("set-cookie", "")
        assert key not in answer.text or not key


@pytest.mark.parametrize("to", ELSEWHERE)
def test_no_way_leads_to_another_place(guarded: Dashboard, dashboard: Dashboard, to: str) -> None:
    assert 'name="to" value="/"' in guarded.html("/sign-in", to=to)
    assert guarded.post("/sign-in", token="", key="open sesame", to=to).headers["location"] == "/"
    assert dashboard.post("/theme", theme="dark", to=to).headers["location"] == "/"


def test_who_need_not_sign_in_is_led_to_the_first_page(dashboard: Dashboard) -> None:
    assert dashboard.get("/sign-in").headers["location"] == "/"
    assert dashboard.sign_in("anything").status_code == 401


def test_the_look_is_chosen_with_a_form(dashboard: Dashboard) -> None:
    answer = dashboard.post("/theme", theme="dark", to="/promotions?task=default")
    assert answer.headers["location"] == "/promotions?task=default"
    assert 'data-theme="dark"' in dashboard.html("/promotions")
    dashboard.post("/theme", theme="")
    assert "data-theme" not in dashboard.html("/promotions")


@pytest.mark.parametrize("theme", ["blue", "dark; domain=evil.example", "<b>"])
def test_a_look_that_is_none_is_refused(dashboard: Dashboard, theme: str) -> None:
    assert dashboard.post("/theme", theme=theme).status_code == 400
    assert THEME not in dashboard.client.cookies


def test_an_annotator_may_leave_and_choose_a_look(guarded: Dashboard) -> None:
    guarded.sign_in("only labels")
    signer = open_signer(Path(guarded.settings.home))
    session = signer.from_cookie(guarded.client.cookies[COOKIE].strip('"'), at=0.0)
    assert session is not None
    assert guarded.post("/theme", token=signer.token(session), theme="dark").status_code == 303
    assert guarded.post("/sign-out", token=signer.token(session)).headers["location"] == "/sign-in"
    assert COOKIE not in guarded.client.cookies


def test_the_page_to_sign_in_names_nobody(guarded: Dashboard) -> None:
    html = guarded.html("/sign-in")
    assert "Person" not in html
    assert "Annotator" not in html
    assert "<nav" not in html
