"""Who is let in, and from where: no page before signing in, no other name, no form of another place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dashboards.access import COOKIE, OWNER, Doors, check_dashboard
from dashboards.pages import ROUTES
from dashboards.session import Signer
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import DashboardSettings, Settings
from tests.dashboards.conftest import Dashboard, Open, hash_of, settings_of

OPEN_TO_ALL = {"/sign-in"}
MOVE: dict[str, Any] = {"task": "default", "mode": "shadow", "router": "", "after": "0"}


def routes_of(dashboard: Dashboard, method: str) -> list[str]:
    """Every path of the dashboard that takes a method, with something in the place of its names."""
    app: Any = dashboard.client.app
    found = [route for route in app.routes if method in (getattr(route, "methods", None) or ())]
    paths = [re.sub(r"\{[^}]*\}", "1", route.path) for route in found]
    return [path for path in paths if path not in OPEN_TO_ALL | {"/healthz"}]


def test_no_page_is_read_before_signing_in(guarded: Dashboard) -> None:
    paths = routes_of(guarded, "GET")
    assert len(paths) >= len(ROUTES) - 1
    for path in paths:
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in"), path
        assert not answer.content


def test_nothing_is_done_before_signing_in(guarded: Dashboard) -> None:
    for path in routes_of(guarded, "POST"):
        assert guarded.post(path, token="", **MOVE).headers.get("location") == "/sign-in", path
    assert Registry(guarded.ledger).current("default") is None


def test_a_part_asked_for_without_a_session_sends_the_whole_page_to_sign_in(guarded: Dashboard) -> None:
    answer = guarded.client.get("/promotions", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "a b", "localhost@evil"])
def test_a_page_of_another_name_reads_nothing(dashboard: Dashboard, host: str) -> None:
    for path in ("/", "/promotions", "/sign-in"):
        answer = dashboard.client.get(path, headers={"host": host})
        assert answer.status_code == 421, (path, answer.text)
        assert COOKIE not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize("host", ["localhost:4001", "127.0.0.1", "[::1]:4001", "LOCALHOST"])
def test_names_of_this_machine_are_answered_to(dashboard: Dashboard, host: str) -> None:
    assert dashboard.client.get("/promotions", headers={"host": host}).status_code == 200


def test_a_declared_name_is_answered_to_and_no_other(open_dashboard: Open) -> None:
    people = {"Person": hash_of("key")}
    named = open_dashboard(dashboard=DashboardSettings(people=people, names=("Stepdown.Example",)))
    assert named.client.get("/sign-in", headers={"host": "stepdown.example"}).status_code == 200
    assert named.client.get("/sign-in", headers={"host": "other.example"}).status_code == 421


FROM_ELSEWHERE = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:4000"},
    {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"},
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_a_form_of_another_place_changes_nothing(dashboard: Dashboard, headers: dict[str, str]) -> None:
    token = dashboard.token()
    for path in routes_of(dashboard, "POST"):
        assert dashboard.post(path, headers, token=token, **MOVE).status_code == 403, path
    assert Registry(dashboard.ledger).current("default") is None


@pytest.mark.parametrize("token", ["", "x", "x.y", "é.ü", "a.b.c"])
def test_a_form_without_the_sessions_token_changes_nothing(dashboard: Dashboard, token: str) -> None:
    dashboard.token()
    for path in routes_of(dashboard, "POST"):
        assert dashboard.post(path, token=token, **MOVE).status_code == 403, path
    assert Registry(dashboard.ledger).current("default") is None


def test_a_token_of_another_session_changes_nothing(dashboard: Dashboard, open_dashboard: Open) -> None:
    other = open_dashboard()
    dashboard.token()
    assert dashboard.post("/promotions/move", token=other.token(), **MOVE).status_code == 403
    assert Registry(dashboard.ledger).current("default") is None


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin"}, {"origin": "http://127.0.0.1"}])
def test_a_form_of_this_dashboard_acts(dashboard: Dashboard, headers: dict[str, str]) -> None:
    assert dashboard.post("/promotions/move", headers, **MOVE).status_code == 303
    assert Registry(dashboard.ledger).deployed("default").mode == "shadow"


def test_a_token_may_come_as_a_header(dashboard: Dashboard) -> None:
    answer = dashboard.post("/promotions/move", {"x-token": dashboard.token()}, token="", **MOVE)
    assert answer.status_code == 303


def test_another_page_signs_nobody_in(guarded: Dashboard) -> None:
    for headers in FROM_ELSEWHERE:
        answer = guarded.post("/sign-in", headers, token="", key="open sesame")
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), headers


def test_an_annotator_sees_the_labels_alone(guarded: Dashboard) -> None:
    answer = guarded.sign_in("only labels")
    assert answer.headers["location"] == "/labels"
    for path in routes_of(guarded, "GET"):
        if not path.startswith("/labels"):
            shown = guarded.get(path)
            assert shown.status_code == 403, path
            assert 'href="/labels"' in shown.text
    # The path is what counts, not a name that the client gives itself.
    assert guarded.client.get("/promotions", headers={"host": "127.0.0.1/labels?"}).status_code == 403
    assert guarded.get("/labelsx").status_code == 404


def test_an_annotator_may_act_on_nothing_else(guarded: Dashboard) -> None:
    guarded.sign_in("only labels")
    everybody = ("/labels", "/sign-out", "/theme")
    for path in routes_of(guarded, "POST"):
        if not path.startswith(everybody):
            assert guarded.post(path, token="", **MOVE).status_code == 403, path
    assert Registry(guarded.ledger).current("default") is None


def test_a_person_has_the_name_of_their_key(guarded: Dashboard) -> None:
    guarded.sign_in(" open sesame\n")  # as it is copied from a terminal
    guarded.post("/promotions/move", **MOVE)
    promoted = Registry(guarded.ledger).current("default")
    assert promoted is not None
    assert promoted.actor == "Person"


def test_nobody_opens_it_to_other_machines_without_people(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):
        with pytest.raises(SettingsError, match=r"dashboard\.people is empty"):
            check_dashboard(Settings(dashboard=DashboardSettings(host=host)))
    for host in ("127.0.0.1", "::1", "localhost"):
        check_dashboard(Settings(dashboard=DashboardSettings(host=host)))
    check_dashboard(Settings(dashboard=DashboardSettings(host="0.0.0.0", people={"P": hash_of("k")})))


def test_a_user_without_a_name_is_the_owner(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000 - 1)
    doors = Doors(settings_of(tmp_path, ledger), Signer(b"k" * 32))
    assert doors.person(doors.visit()).name == OWNER
