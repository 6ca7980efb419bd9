"""What fails, and what the client and the ledger get then: models, the ledger, a client that goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepdown.errors import LedgerError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import ModelSettings
from tests.fakes import (
    DONE,
    EVENTS,
    FakeModel,
    Reply,
    closed_port,
    error,
    events,
    plain,
)
from tests.router.driver import CHAT, always, routing, serving, settings_for, wire
from tests.router.ledgers import (
    calls_of,
    decision_of,
    only_request,
    promote,
    request_of,
    router_that_prefers,
)


async def test_a_ledger_that_refuses_withholds_the_end(
    ledger: Ledger, strong: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(records: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(ledger, "append", refuse)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        whole = await client.chat()
        stream = await client.chat(stream=True)
    assert whole.status == 503
    assert "ledger" in whole.error["message"]
    assert whole.headers["x-stepdown-model"] == "gpt"
    assert DONE not in stream.body
    assert b'data: {"error"' in stream.chunks[-1]


async def test_a_client_that_hangs_up_before_the_answer_is_on_record_too(
    ledger: Ledger, strong: FakeModel
) -> None:
    strong.behaviour = always(replace(plain(), head_after_s=5))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await client.send("POST", CHAT, wire(), hangs_up=lambda r: True)
    request = only_request(ledger)
    (call,) = calls_of(ledger, request.id)
    assert (request.status, call.status, call.complete, call.body) == (499, 0, False, None)


async def test_an_upstreams_own_error_is_relayed(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = always(error(429, "slow down", headers=(("retry-after", "3"),)))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        for stream in (False, True):
            response = await client.chat(stream=stream)
            assert (response.status, response.error["message"]) == (429, "slow down")
            assert response.error["code"] == "fake"
            assert response.headers["retry-after"] == "3"
            assert response.headers["x-stepdown-model"] == "gpt"
            (call,) = calls_of(ledger, response.id)
            assert (call.status, call.complete) == (429, False)
            assert "slow down" in call.error
            assert request_of(ledger, response.id).status == 429


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b'{"detail": "no \\"GPU\\""}', 'no "GPU"'),
        (b"", "nothing"),
    ],
)
async def test_an_upstreams_other_errors_are_put_into_openais_shape(
    ledger: Ledger, strong: FakeModel, body: bytes, words: str
) -> None:
    strong.behaviour = always(Reply(status=500, content_type="text/html", parts=(body,) if body else ()))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat()
    assert response.status == 500
    assert response.headers["content-type"] == "application/json"
    assert words in response.error["message"]
    assert "'strong'" in response.error["message"]


async def test_strong_down_is_an_answer_and_not_a_hang(ledger: Ledger, strong: FakeModel) -> None:
    nobody = ModelSettings(model="gpt", url=f"http://127.0.0.1:{closed_port()}/v1")
    async with serving(settings_for(nobody), ledger) as client:
        refused = await client.chat()
    assert refused.status == 503
    assert "model 'strong' (gpt) cannot be reached" in refused.error["message"]
    for reply in (Reply(content_type=EVENTS, breaks=True), replace(plain(), breaks=True, parts=(b"{",))):
        strong.behaviour = always(reply)
        async with serving(settings_for(strong.settings("gpt")), ledger) as client:
            broken = await client.chat(stream=reply.content_type == EVENTS)
        assert broken.status == 502
        assert calls_of(ledger, broken.id)[0].error


async def test_a_silent_upstream_is_a_504(ledger: Ledger, strong: FakeModel) -> None:
    settings = settings_for(strong.settings("gpt", timeout_s=0.1))
    async with serving(settings, ledger) as client:
        strong.behaviour = always(replace(plain(), head_after_s=2))
        response = await client.chat()
        assert response.status == 504
        assert "0.1 s" in response.error["message"]
        assert calls_of(ledger, response.id)[0].status == 0
        strong.behaviour = always(Reply(content_type=EVENTS, parts=events(), pause_s=0.3))
        assert (await client.chat(stream=True)).status == 504


async def test_something_else_than_json_is_a_502(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = always(Reply(parts=(b"<html>log in</html>",), content_type="text/html"))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        assert (await client.chat()).status == 502


FAILURES = [
    error(500, "boom"),
    error(503, "no"),
    error(429, "busy"),
    error(400, "context too long"),
    error(404, "no such adapter"),
    replace(plain(), head_after_s=1.0),
    replace(plain(), breaks=True, parts=(b'{"choi',)),
    Reply(parts=(b"<html>",)),
    Reply(content_type=EVENTS),
    Reply(content_type=EVENTS, breaks=True),
]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
async def test_where_small_fails_before_its_first_byte_strong_answers(
    ledger: Ledger, strong: FakeModel, small: FakeModel, failure: Reply
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    small.behaviour = always(failure)
    settings = settings_for(strong.settings("gpt"), small.settings("mini", timeout_s=0.2))
    async with serving(settings, ledger, draw=lambda: 0.5) as client:
        response = await client.chat(stream=failure.content_type == EVENTS)
    assert response.status == 200
    assert (response.reason, response.headers["x-stepdown-model"]) == ("small_model_failed", "gpt")
    decision = decision_of(ledger, response.id)
    assert (decision.chosen, decision.reason) == ("strong", "small_model_failed")
    first, second = calls_of(ledger, response.id)
    assert (first.tier, first.complete, second.tier, second.complete) == ("small", False, "strong", True)
    assert first.error


async def test_small_not_listening_is_a_fallback_too(ledger: Ledger, strong: FakeModel) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    nobody = ModelSettings(model="mini", url=f"http://127.0.0.1:{closed_port()}/v1")
    async with serving(settings_for(strong.settings("gpt"), nobody), ledger, draw=lambda: 0.5) as client:
        response = await client.chat()
    assert (response.status, response.reason) == (200, "small_model_failed")
    assert calls_of(ledger, response.id)[0].status == 0


async def test_after_the_first_byte_the_decision_stays(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    small.behaviour = always(Reply(content_type=EVENTS, parts=events()[:2], breaks=True))
    async with serving(routing(strong, small), ledger, draw=lambda: 0.5) as client:
        response = await client.chat(stream=True)
    assert b'data: {"error"' in response.body
    assert not strong.asked
    assert decision_of(ledger, response.id).chosen == "small"
