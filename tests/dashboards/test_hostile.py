"""Whatever is written into an address, a form, a name or a body: every page stands, and shows it as text.

The routes are those of the app itself, so that a page that is new is asked the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from dashboards.app import create_app
from dashboards.playing.question import form_of
from dashboards.queries import filters
from dashboards.texts import shown_prompt
from stepdown.errors import BadRequest
from stepdown.ledger import Ledger
from stepdown.settings import TaskSettings
from tests.dashboards.asking import asked
from tests.dashboards.conftest import Dashboard, Open, settings_of

ON_BOTH_DATABASES = True

SCRIPT = "\"'><script>alert(1)</script>"
VALUES = (
    *("%00", "a%00b", "-1", "9" * 5000, "%D9%A1", "nan", "1e400", "%25_%5C", quote(SCRIPT)),
    *("%E2%80%AE%1B%5B31m%D7%A9", "%0D%0ASet-Cookie:%20a=b", "..%2F..%2Fapp.py"),
)
FIELDS = {
    "/": ("range", "task"),
    "/frontier": ("loss", "step"),
    "/frontier/bound": ("loss",),
    "/labels": ("item", "last", "reference"),
    "/labels/text": ("item", "part"),
    "/nights": ("before",),
    "/playground": ("from",),
    "/promotions/move": ("mode",),
    "/requests": (*filters.FIELDS, "live", "newer", "older", "seen"),
    "/slices": ("order", "q", "sort", "verdict"),
    "/students/1/promote": ("step",),
}
NAMES = ("a/b", "ünï cödé", "q?a=1&b=2#c", "100%", SCRIPT, "x" * 200, "<b>", " ")


def routes_of(app: Starlette, method: str) -> Iterator[str]:
    """The paths that are answered to."""
    for route in app.routes:
        if isinstance(route, Route) and route.methods and method in route.methods:
            yield route.path


@pytest.fixture
def app(ledger: Ledger, tmp_path: Path) -> Starlette:
    """A dashboard's routes."""
    return create_app(settings_of(tmp_path / "home", ledger), ledger=ledger, environ={})


def filled(path: str, value: str) -> str:
    """A path with its variable parts."""
    for part in ("{id:path}", "{id}", "{student}", "{what}", "{sequence}"):
        path = path.replace(part, value)
    assert "{" not in path, path
    return path


@pytest.mark.parametrize("value", VALUES)
def test_no_address_is_a_fault(dashboard: Dashboard, app: Starlette, value: str) -> None:
    dashboard.ledger.append(asked(1))
    paths = {filled(path, value) for path in routes_of(app, "GET")}
    for address in paths | {f"{page}?{name}={value}" for page, names in FIELDS.items() for name in names}:
        answer = dashboard.client.get(address)
        assert answer.status_code < 500, (address[:200], answer.text[-500:])
        assert "<script>alert" not in answer.text
        assert "\n" not in answer.headers.get("location", "")


def test_no_form_acts_without_its_token(dashboard: Dashboard, app: Starlette) -> None:
    paths = set(routes_of(app, "POST")) - {"/sign-in"}
    assert len(paths) > 10
    for path in paths:
        answer = dashboard.post(filled(path, "1"), token="")
        assert answer.status_code == 403, path


@pytest.mark.parametrize("value", VALUES)
def test_no_form_is_a_fault(dashboard: Dashboard, app: Starlette, value: str) -> None:
    token = dashboard.token()
    asked_for = (
        "user",
        "messages",
        "temperature",
        "max_tokens",
        "ask:policy",
        "check",
        "column",
        "reference",
    )
    acts = (
        "after",
        "comment",
        "id",
        "loss",
        "mode",
        "name",
        "reason",
        "router",
        "step",
        "task",
        "theme",
        "to",
    )
    given = "&".join(f"{name}={value}" for name in (*asked_for, *acts, "verdict"))
    for path in routes_of(app, "POST"):
        body = f"{given}&{urlencode({'token': token})}"
        kind = {"content-type": "application/x-www-form-urlencoded"}
        for sent in (body, body.replace("task=", "no-task=")):
            answer = dashboard.client.post(filled(path, "1"), content=sent, headers=kind)
            assert answer.status_code < 500, (path, answer.text[-500:])
            assert "<script>alert" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_a_task_may_have_any_name(open_dashboard: Open, app: Starlette, name: str) -> None:
    dashboard = open_dashboard(tasks={"other": TaskSettings(), name: TaskSettings(small="small")})
    dashboard.ledger.append(asked(1, task=name, slice=name, conversation=name))
    for path in routes_of(app, "GET"):
        if "{" not in path:
            answer = dashboard.get(path, task=name)
            assert answer.status_code < 500, (path, answer.text[-500:])
            assert "<script>alert" not in answer.text
    permalink = dashboard.get("/requests/request-000001")
    assert permalink.status_code == 307
    assert dashboard.get(permalink.headers["location"]).status_code == 200
    review = dashboard.get("/promotions/move", task=name, mode="shadow")
    assert review.status_code == 200
    moved = dashboard.post(
        f"/promotions/move?{urlencode({'task': name})}", task=name, mode="shadow", router="", after=0
    )
    assert moved.status_code == 303, moved.text
    assert dashboard.get(moved.headers["location"]).status_code == 200
    assert "Move to mode" in dashboard.html("/promotions", task=name)


@pytest.mark.parametrize("depth", [100, 900, *range(970, 1000, 3)])
def test_a_body_may_be_nested_as_deep_as_the_proxy_takes(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    fields = (
        f'"messages": [{{"role": "user", "content": {deep}}}]',
        f'"messages": [{{"role": "user", "content": "Hi"}}], "tools": {deep}',
        f'"messages": [{{"role": "user", "content": "Hi"}}], "response_format": {deep}',
        f'"messages": [{{"role": "user", "content": [{{"type": "x", "x": {deep}}}]}}]',
    )
    with ThreadPoolExecutor() as threads:  # as the pages of the dashboard run, from the bottom of a stack
        for field in fields:
            body = f'{{"model": "m", {field}}}'.encode()
            assert threads.submit(shown_prompt, body).exception() is None
            assert isinstance(threads.submit(form_of, body).exception(), BadRequest | None)
