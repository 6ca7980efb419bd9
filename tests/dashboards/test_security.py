"""The headers that keep a page from doing anything, on every answer."""

from __future__ import annotations

import re

import pytest

from dashboards.render import PAGES
from dashboards.security import HEADERS, POLICY
from dashboards.site import Visit
from tests.dashboards.conftest import Dashboard, Open


def has_them_all(headers: object) -> bool:
    return HEADERS.items() <= dict(headers).items()  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    "path",
    [
        *(path for path, _ in PAGES),
        *("/healthz", "/sign-in", "/static/style.css", "/static/none.css", "/no/such/page"),
        *("/promotions/999", "/promotions?task=none", "/promotions/move?mode=none"),
    ],
)
def test_every_answer_has_them(dashboard: Dashboard, path: str) -> None:
    assert has_them_all(dashboard.get(path).headers)


def test_what_is_refused_has_them_too(guarded: Dashboard, dashboard: Dashboard) -> None:
    assert has_them_all(guarded.get("/promotions").headers)
    assert has_them_all(guarded.sign_in("wrong").headers)
    assert has_them_all(dashboard.post("/theme", token="x").headers)
    assert has_them_all(dashboard.client.get("/", headers={"host": "evil.example"}).headers)
    assert has_them_all(dashboard.client.put("/").headers)


def test_a_fault_has_them_too(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(visit: Visit, *_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Visit, "render", broken)
    answer = dashboard.get("/promotions")
    assert answer.status_code == 500
    assert has_them_all(answer.headers)
    assert "secret" not in answer.text
    assert "fault" in answer.text


def test_a_fault_beyond_every_page_has_them_too(guarded: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("dashboards.pages.entry.query_of", broken)
    answer = guarded.get("/sign-in")
    assert answer.status_code == 500
    assert has_them_all(answer.headers)
    assert "secret" not in answer.text


def test_the_policy_allows_no_inline_script_and_no_other_place() -> None:
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert not re.search(r"https?:|\*", POLICY)


def test_only_files_named_by_their_content_are_kept_by_browsers(dashboard: Dashboard) -> None:
    named = re.findall(r'"(/static/[^"]+)"', dashboard.html("/promotions"))
    assert len(named) >= 3
    for address in named:
        assert "immutable" in dashboard.get(address).headers["cache-control"], address
    assert dashboard.get("/promotions").headers["cache-control"] == "no-store"
    assert dashboard.get("/static/style.css").headers["cache-control"] == "no-store"


def test_no_page_names_a_script_or_style_of_its_own(open_dashboard: Open) -> None:
    """What the policy would stop is not there in the first place."""
    dashboard = open_dashboard()
    for path, _ in PAGES:
        answer = dashboard.get(path)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text), path
