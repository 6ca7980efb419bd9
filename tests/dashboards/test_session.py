"""Sessions and tokens: what was changed, is too old or of another key counts for nothing."""

from __future__ import annotations

import base64
import stat
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.access import COOKIE
from dashboards.session import KEY_FILE, Session, Signer, open_signer
from stepdown.errors import SettingsError
from stepdown.settings import DashboardSettings
from tests.dashboards.conftest import Dashboard, Open, hash_of

SIGNER = Signer(b"k" * 32)
OTHER = Signer(b"o" * 32)
COOKIE_OF_ONE = SIGNER.to_cookie(Session(id="1", name="Person", key="0123456789abcdef", until=100.0))


def test_a_session_comes_back_from_its_cookie() -> None:
    session = SIGNER.new("Person é", "0123456789abcdef", 100.0)
    cookie = SIGNER.to_cookie(session)
    assert SIGNER.from_cookie(cookie, at=99.0) == session
    assert SIGNER.from_cookie(cookie, at=100.0) is None
    assert OTHER.from_cookie(cookie, at=99.0) is None


@given(st.data())
def test_no_change_of_a_cookie_is_a_session(data: st.DataObject) -> None:
    cookie = COOKIE_OF_ONE
    place = data.draw(st.integers(0, len(cookie) - 1))
    letter = data.draw(st.characters(exclude_characters=cookie[place]))
    assert SIGNER.from_cookie(cookie[:place] + letter + cookie[place + 1 :], at=0.0) is None


@given(st.text())
def test_no_text_is_a_session_or_a_token(text: str) -> None:
    session = SIGNER.new("", "", 100.0)
    assert SIGNER.from_cookie(text, at=0.0) is None
    assert not SIGNER.is_token(text, session)


def test_a_signature_of_a_token_signs_no_session() -> None:
    """What is signed says what for, so that a token cannot be made into a session."""
    session = SIGNER.new("", "", 100.0)
    nonce, _, signature = SIGNER.token(session).partition(".")
    assert SIGNER.from_cookie(f"{session.id}{nonce}.{signature}", at=0.0) is None


def test_a_token_is_of_one_session_and_never_the_same() -> None:
    one, other = SIGNER.new("", "", 100.0), SIGNER.new("", "", 100.0)
    tokens = {SIGNER.token(one) for _ in range(20)}
    assert len(tokens) == 20
    assert all(SIGNER.is_token(token, one) and not SIGNER.is_token(token, other) for token in tokens)


def test_the_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    made = open_signer(tmp_path / "home")
    assert open_signer(tmp_path / "home") == made
    assert len(made.key) == 32
    assert stat.S_IMODE((tmp_path / "home" / KEY_FILE).stat().st_mode) == 0o600


def test_a_key_that_is_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(SettingsError, match="not 32 bytes"):
        open_signer(tmp_path)


def test_a_forged_session_is_none(guarded: Dashboard) -> None:
    content = Session(id="x", name="Person", key=hash_of("open sesame")[:16], until=time.time() + 99)
    text = base64.urlsafe_b64encode(msgspec.json.encode(content)).decode()
    for cookie in (text, f"{text}.", f"{text}.{'0' * 64}", OTHER.to_cookie(content)):
        guarded.client.cookies.set(COOKIE, cookie)
        assert guarded.get("/promotions").status_code == 303


def test_a_session_ends_with_its_hours(open_dashboard: Open) -> None:
    people = {"Person": hash_of("open sesame")}
    guarded = open_dashboard(dashboard=DashboardSettings(people=people, session_hours=1e-9))
    guarded.sign_in("open sesame")
    assert guarded.get("/promotions").status_code == 303


def test_a_key_taken_away_ends_its_sessions(open_dashboard: Open) -> None:
    before = open_dashboard(dashboard=DashboardSettings(people={"Person": hash_of("old"), "B": hash_of("b")}))
    before.sign_in("old")
    assert before.get("/promotions").status_code == 200
    cookie = before.client.cookies[COOKIE]
    for people in ({"B": hash_of("b")}, {"Person": hash_of("new")}, {"Renamed": hash_of("old")}):
        after = open_dashboard(dashboard=DashboardSettings(people=people))
        after.client.cookies.set(COOKIE, cookie)
        assert after.get("/promotions").status_code == 303, people


def test_a_session_of_an_open_dashboard_opens_no_guarded_one(open_dashboard: Open) -> None:
    nobody = open_dashboard()
    nobody.html("/promotions")
    guarded = open_dashboard(dashboard=DashboardSettings(people={"Person": hash_of("k")}))
    guarded.client.cookies.set(COOKIE, nobody.client.cookies[COOKIE])
    assert guarded.get("/promotions").status_code == 303


def test_signing_out_ends_it_and_no_late_answer_undoes_that(guarded: Dashboard) -> None:
    guarded.sign_in("open sesame")
    assert COOKIE not in guarded.get("/promotions").headers.get("set-cookie", "")
    assert guarded.post("/sign-out").headers["location"] == "/sign-in"
    assert guarded.get("/promotions").status_code == 303


def test_the_cookie_is_for_this_dashboard_alone(guarded: Dashboard) -> None:
    said = guarded.sign_in("open sesame").headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "domain" not in said
