"""The endpoints, and what bad input is answered with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.app import create_app
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import ModelSettings, ProxySettings, Settings, TaskSettings
from tests.fakes import FakeModel
from tests.router.driver import CHAT, HELLO, Client, Response, serving, settings_for
from tests.router.ledgers import count, promote
from tests.router.test_access import hashed


async def get(client: Client, path: str, **how: Any) -> Response:
    return await client.send("GET", path, **how)


async def test_models_are_listed(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    settings = settings_for(strong.settings("gpt"), small.settings("mini"), tasks={"sums": TaskSettings()})
    async with serving(settings, ledger) as client:
        listing = (await get(client, "/v1/models")).json
    assert listing["object"] == "list"
    names = [model["id"] for model in listing["data"]]
    assert names == ["stepdown", "stepdown/default", "stepdown/sums", "strong", "small"]


async def test_health_and_metrics(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        assert (await get(client, "/healthz")).status == 200
        ready = await get(client, "/readyz")
        assert (ready.status, ready.json) == (200, {"status": "ready", "missing": []})
        await client.chat()
        await client.chat(messages=[])
        metrics = (await get(client, "/metrics")).body.decode()
    served = 'stepdown_requests_total{model="gpt",reason="mode_strong",status="200",task="default"} 1.0'
    assert served in metrics
    assert 'stepdown_refused_total{code="invalid_value",status="400"} 1.0' in metrics
    assert 'stepdown_request_seconds_count{model="gpt"} 1.0' in metrics
    assert 'stepdown_upstream_ttft_seconds_count{model="gpt"} 1.0' in metrics
    assert "stepdown_commit_wait_seconds_count 1.0" in metrics
    assert "stepdown_policy_revision 0.0" in metrics


async def test_not_ready_before_the_start_and_healthy_all_the_same(strong: FakeModel) -> None:
    client = Client(create_app(settings_for(strong.settings("gpt")), environ={}))
    assert (await get(client, "/healthz")).status == 200
    ready = await get(client, "/readyz")
    assert ready.status == 503
    assert "ledger" in ready.json["missing"][0]
    assert (await client.chat()).status == 503


async def test_not_ready_while_the_ledger_cannot_be_read(ledger: Ledger, strong: FakeModel) -> None:
    with ledger.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE promotions RENAME TO gone")
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        ready = await get(client, "/readyz")
        assert ready.status == 503
        assert "ledger" in ready.json["missing"][0]
        assert (await client.chat()).reason == "mode_strong", "requests are served by strong meanwhile"


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "stepdown", "messages": HELLO, **fields}).encode()


@pytest.mark.parametrize(
    ("sent", "status", "code", "param"),
    [
        (b"{", 400, "invalid_json", None),
        (b'{"model": "\xff"}', 400, "invalid_value", None),
        (body(messages=[]), 400, "invalid_value", "messages"),
        (body(temperature="hot"), 400, "invalid_value", "temperature"),
        (body(model="gpt-9"), 404, "model_not_found", "model"),
        (body(model="stepdown/nope"), 404, "model_not_found", "model"),
        (body(model="Stepdown"), 404, "model_not_found", "model"),
        (body(x="y" * 3000), 413, "body_too_large", None),
    ],
)
async def test_bad_input_is_refused_in_openais_shape(
    ledger: Ledger, strong: FakeModel, sent: bytes, status: int, code: str, param: str | None
) -> None:
    settings = settings_for(strong.settings("gpt"), proxy=ProxySettings(max_body_bytes=2048))
    async with serving(settings, ledger) as client:
        response = await client.send("POST", CHAT, sent)
    assert response.status == status
    assert response.error["type"] == "invalid_request_error"
    assert (response.error["code"], response.error["param"]) == (code, param)
    assert response.id
    assert response.reason == "refused"
    assert not strong.asked
    assert count(ledger, "requests") == 0


async def test_unknown_names_are_answered_with_the_known_ones(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(
        settings_for(strong.settings("gpt"), tasks={"sums": TaskSettings()}), ledger
    ) as client:
        for response in (await client.chat(model="stepdown/x"), await client.chat({"X-Stepdown-Task": "x"})):
            assert response.status == 404
            assert "'x' is not known; known: default, sums" in response.error["message"]
        model = await client.chat(model="gpt-9")
        assert "'gpt-9' is not known; known: stepdown, stepdown/default" in model.error["message"]
        both = await client.chat({"X-Stepdown-Task": "sums"}, model="stepdown/default")
        assert both.status == 400


async def test_a_body_without_a_length_is_bounded_too(ledger: Ledger, strong: FakeModel) -> None:
    settings = settings_for(strong.settings("gpt"), proxy=ProxySettings(max_body_bytes=1024))
    async with serving(settings, ledger) as client:
        for length in ("x", "10"):
            response = await client.send(
                "POST", CHAT, body(x="y" * 5000), {"content-length": length}, piece=100
            )
            assert response.status == 413


async def test_a_key_of_one_task_cannot_ask_for_another(ledger: Ledger, strong: FakeModel) -> None:
    sums = TaskSettings(keys=(hashed("k"),))
    async with serving(settings_for(strong.settings("gpt"), tasks={"sums": sums}), ledger) as client:
        key = {"Authorization": "Bearer k"}
        assert (await client.chat(key)).status == 200
        assert (await client.chat(key, model="stepdown/sums")).status == 200
        assert (await client.chat(key, model="stepdown/default")).status == 403
        assert (await client.chat({**key, "X-Stepdown-Task": "default"})).status == 403
        refused = await client.chat()
        assert (refused.status, refused.error["type"]) == (401, "authentication_error")
        assert (await get(client, "/v1/models")).status == 401
        assert (await get(client, "/v1/models", headers=key)).status == 200


async def test_wrong_paths_and_methods(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        nothing = await get(client, "/v1/nothing")
        assert (nothing.status, nothing.error["code"]) == (404, "not_found")
        assert CHAT in nothing.error["message"]
        wrong = await get(client, CHAT)
        assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")
        assert (await client.send("POST", "/v1/models")).status == 405


async def test_a_failure_of_ours_is_a_500_in_openais_shape(
    ledger: Ledger, strong: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("router.relay.upstream_body", broken)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat()
    assert (response.status, response.error["code"]) == (500, "internal_error")


def test_a_default_task_without_a_strong_model_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tasks\.default\.strong = 'strong' is not a model"):
        create_app(Settings(models={"other": ModelSettings(model="m")}), environ={})


async def test_an_undeclared_default_task_takes_the_small_model(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.SHADOW)
    settings = Settings(models={"strong": strong.settings("gpt"), "small": small.settings("mini")})
    async with serving(settings, ledger) as client:
        assert (await client.chat()).reason == "mode_shadow"
    assert len(small.asked) == 1
