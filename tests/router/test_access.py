"""Who is let in, into which task, and what of a key goes where."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest

from router.access import Access, Annotators, check_address
from stepdown.errors import BadRequest, Forbidden, SettingsError, Unauthorized
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, ProxySettings, Settings, TaskSettings
from tests.fakes import FakeModel, Reply
from tests.router.driver import serving, settings_for
from tests.router.ledgers import request_of


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def headers(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


OPEN = Settings()
KEYED = Settings(
    proxy=ProxySettings(keys=(hashed("any"),)),
    models={"strong": ModelSettings(model="m")},
    tasks={"sums": TaskSettings(keys=(hashed("sum").upper(),)), "chat": TaskSettings()},
)


def test_without_keys_all_are_let_in_and_told_apart() -> None:
    access = Access(OPEN)
    nobody = access.admit({})
    somebody = access.admit(headers(authorization="Bearer sk-1"))
    assert (nobody.tenant, nobody.task, nobody.authorization) == ("", None, None)
    assert somebody.tenant == hashed("sk-1")[:16]
    assert somebody.authorization == "Bearer sk-1"


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer no"}, {"authorization": "Basic any"}])
def test_an_unknown_key_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as refused:
        Access(KEYED).admit(headers(**given))
    assert refused.value.status == 401


def test_a_known_key_is_let_in_and_goes_no_further() -> None:
    caller = Access(KEYED).admit(headers(authorization="bearer any", x_stepdown_task="chat"))
    assert (caller.tenant, caller.task, caller.bound) == (hashed("any")[:16], "chat", False)
    assert caller.authorization is None


def test_a_tasks_key_puts_its_requests_into_the_task() -> None:
    access = Access(KEYED)
    caller = access.admit(headers(authorization="Bearer sum"))
    assert (caller.task, caller.bound) == ("sums", True)
    assert access.admit(headers(authorization="Bearer sum", x_stepdown_task="sums")).task == "sums"
    with pytest.raises(Forbidden, match="chat"):
        access.admit(headers(authorization="Bearer sum", x_stepdown_task="chat"))


def test_a_task_header_that_is_not_text_is_refused() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        Access(OPEN).admit({b"x-stepdown-task": b"\xff"})


def test_people_are_told_apart_by_their_keys() -> None:
    people = Annotators(Settings(annotators={"ada": hashed("a").upper(), "Zoë Y.": hashed("z")}))
    assert people.admit(headers(authorization="Bearer a"), None) == "ada"
    assert people.admit(headers(authorization="Bearer z"), "Zoë Y.") == "Zoë Y."
    with pytest.raises(Forbidden, match="annotator = 'ada'"):
        people.admit(headers(authorization="Bearer z"), "ada")
    with pytest.raises(Unauthorized):
        people.admit({}, "ada")


@pytest.mark.parametrize(
    ("annotators", "words"),
    [
        ({"": "k"}, "annotators.'' is no name"),
        ({"x" * 65: "k"}, "is no name"),
        ({" ada": "k"}, "annotators.' ada' is no name"),
        ({"a\nb": "k"}, "is no name"),
        ({"ada": "k", "bob": "K"}, "annotators.bob and annotators.ada have one key"),
    ],
)
def test_people_who_could_not_be_told_apart_are_refused(annotators: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Annotators(Settings(annotators=annotators))
    assert words in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_without_keys_a_loopback_address_is_fine(host: str) -> None:
    check_address(Settings(proxy=ProxySettings(host=host)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "proxy.example"])
def test_without_keys_no_other_machine_is_let_in(host: str) -> None:
    with pytest.raises(SettingsError, match="stepdown key"):
        check_address(Settings(proxy=ProxySettings(host=host)))
    check_address(Settings(proxy=ProxySettings(host=host, keys=(hashed("k"),))))


CALLERS, UPSTREAMS = "sk-caller-secret-4711", "sk-upstream-secret-0815"


async def test_the_callers_key_goes_to_the_strong_model_only(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    authorization = {"Authorization": f"Bearer {CALLERS}"}
    settings = settings_for(strong.settings("gpt"), small.settings("mini"))
    async with serving(settings, ledger) as client:
        await client.chat(authorization)
        await client.chat(authorization, model="small")
    assert strong.asked[0].headers["authorization"] == f"Bearer {CALLERS}"
    assert "authorization" not in small.asked[0].headers


async def test_the_callers_key_stays_here_where_the_proxy_or_the_model_has_keys(
    ledger: Ledger, strong: FakeModel
) -> None:
    authorization = {"Authorization": f"Bearer {CALLERS}"}
    keyed = settings_for(strong.settings("gpt"), proxy=ProxySettings(keys=(hashed(CALLERS),)))
    async with serving(keyed, ledger) as client:
        response = await client.chat(authorization)
    assert "authorization" not in strong.asked[-1].headers
    assert request_of(ledger, response.id).tenant == hashed(CALLERS)[:16]
    own = settings_for(strong.settings("gpt", api_key_env="KEY"))
    async with serving(own, ledger, environ={"KEY": UPSTREAMS}) as client:
        await client.chat(authorization)
    assert strong.asked[-1].headers["authorization"] == f"Bearer {UPSTREAMS}"


async def test_a_model_whose_keys_variable_is_not_set_is_refused(ledger: Ledger, strong: FakeModel) -> None:
    with pytest.raises(SettingsError, match="'NO_SUCH_KEY' is not set"):
        async with serving(settings_for(strong.settings("gpt", api_key_env="NO_SUCH_KEY")), ledger):
            pass


async def test_no_key_is_in_the_ledger_a_log_or_an_error(
    ledger: Ledger, strong: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def indiscreet(asked: object) -> Reply:
        said = f"Incorrect API key provided: {strong.asked[-1].headers['authorization']}"
        return Reply(status=401, parts=(json.dumps({"error": {"message": said}}).encode(),))

    caplog.set_level(logging.DEBUG)
    seen = b""
    for key, environ in ((None, {}), ("KEY", {"KEY": UPSTREAMS})):
        settings = settings_for(strong.settings("gpt", api_key_env=key))
        async with serving(settings, ledger, environ=environ) as client:
            for behaviour in (indiscreet, FakeModel().behaviour):
                strong.behaviour = behaviour
                response = await client.chat({"Authorization": f"Bearer {CALLERS}"})
                seen += response.body + repr(response.headers).encode()
    ledger.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240
    for secret in (CALLERS, UPSTREAMS):
        assert any(secret in asked.headers["authorization"] for asked in strong.asked)
        assert secret.encode() not in seen + kept + caplog.text.encode()
    assert b"[key]" in seen
