"""One chat request: relayed unchanged, decided before its first byte, sent where the policy says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.shadow import Shadows
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import TaskSettings
from tests.fakes import (
    DONE,
    FakeModel,
    completion,
    error,
    plain,
)
from tests.router.driver import CHAT, PRICES, always, routing, serving, settings_for, wire
from tests.router.ledgers import (
    calls_of,
    decision_of,
    promote,
    request_of,
    router_that_prefers,
)


async def test_a_plain_answer_is_relayed_byte_for_byte_and_on_record(
    ledger: Ledger, strong: FakeModel
) -> None:
    strong.behaviour = always(replace(plain("Yes."), headers=(("x-ratelimit-remaining", "9"),)))
    async with serving(settings_for(strong.settings("gpt", **PRICES)), ledger) as client:
        response = await client.send("POST", CHAT, wire(seed=7))
    assert response.status == 200
    assert response.body == completion("Yes.")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-ratelimit-remaining"] == "9"
    assert response.headers["x-stepdown-model"] == "gpt"
    assert response.headers["x-stepdown-policy"] == "none"
    assert response.reason == "mode_strong"

    request, decision = request_of(ledger, response.id), decision_of(ledger, response.id)
    (call,) = calls_of(ledger, response.id)
    assert (request.task, request.status, request.stream) == ("default", 200, False)
    assert ledger.body(request.body) == wire(seed=7)
    assert (decision.chosen, decision.reason, decision.propensity) == ("strong", "mode_strong", 1.0)
    assert (call.model, call.status, call.complete, call.finish_reason) == ("gpt", 200, True, "stop")
    assert (call.prompt_tokens, call.completion_tokens) == (7, 3)
    assert call.cost_usd_micros == 7 * 10 + 3 * 100
    assert ledger.body(call.body) == response.body
    assert call.ttft_ms <= call.latency_ms <= request.latency_ms


async def test_unknown_fields_reach_the_upstream_byte_for_byte(ledger: Ledger, strong: FakeModel) -> None:
    odd = b'"vendor_x": {"b": 1.0e+2, "a": [1,  2], "c": "\\u00e9"}'
    body = b'{"model": "stepdown", "messages": [{"role":"user","content":"hi"}], ' + odd + b"}"
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await client.send("POST", CHAT, body, piece=7)
    assert odd.partition(b": ")[2] in strong.asked[0].body


async def test_the_router_in_force_decides(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    artifact = promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    async with serving(routing(strong, small), ledger, draw=lambda: 0.5) as client:
        response = await client.chat()
    assert (len(strong.asked), len(small.asked)) == (0, 1)
    assert small.asked[0].json["model"] == "mini"
    assert response.headers["x-stepdown-model"] == "mini"
    assert response.headers["x-stepdown-policy"] == artifact
    assert response.reason == "gain_below_threshold"
    decision = decision_of(ledger, response.id)
    assert (decision.mode, decision.chosen, decision.policy) == ("route", "small", artifact)
    assert decision.propensity == pytest.approx(0.9)
    assert decision.gain == pytest.approx(decision.p_strong - decision.p_small)
    assert calls_of(ledger, response.id)[0].tier == "small"


async def test_an_explored_request_is_answered_by_strong_and_shadowed(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    small.behaviour = always(plain("small says"))
    async with serving(routing(strong, small), ledger, draw=lambda: 0.05) as client:
        response = await client.chat(stream=True)
    assert response.reason == "exploration"
    assert response.body.endswith(DONE)
    decision = decision_of(ledger, response.id)
    assert (decision.chosen, decision.explored, decision.shadowed) == ("strong", True, True)
    assert decision.propensity == pytest.approx(0.1)
    live, shadow = sorted(calls_of(ledger, response.id), key=lambda call: str(call.role))
    assert (live.role, live.tier, live.model) == ("live", "strong", "gpt")
    assert (shadow.role, shadow.tier, shadow.model) == ("shadow", "small", "mini")
    assert ledger.body(shadow.body) == completion("small says")
    assert "stream" not in small.asked[0].json


async def test_shadow_mode_never_delays_the_client(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.SHADOW)
    small.behaviour = always(replace(plain(), head_after_s=0.4))
    async with serving(routing(strong, small), ledger) as client:
        response = await client.chat()
        assert response.reason == "mode_shadow"
        assert [call.role for call in calls_of(ledger, response.id)] == ["live"]
    calls = calls_of(ledger, response.id)
    assert {call.role for call in calls} == {"live", "shadow"}
    assert all(call.complete for call in calls), "the end waits for shadow calls under way"


async def test_a_shadow_call_that_fails_is_on_record(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.SHADOW)
    small.behaviour = always(error(500, "boom"))
    async with serving(routing(strong, small), ledger) as client:
        response = await client.chat()
    assert response.status == 200
    shadow = next(call for call in calls_of(ledger, response.id) if call.role == "shadow")
    assert (shadow.status, shadow.complete) == (500, False)


async def test_shadow_calls_without_a_place_are_dropped_and_counted(
    ledger: Ledger, strong: FakeModel, small: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shadows.__init__, "__defaults__", (1,))
    promote(ledger, Mode.SHADOW)
    small.behaviour = always(replace(plain(), head_after_s=0.2))
    async with serving(routing(strong, small), ledger) as client:
        first, second = await client.chat(), await client.chat()
        assert b"stepdown_shadow_calls_dropped_total 1.0" in client.app._metrics.exposition()
    assert decision_of(ledger, first.id).shadowed
    assert not decision_of(ledger, second.id).shadowed
    assert len(small.asked) == 1


async def test_a_conversation_stays_on_its_model(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    draws = iter([0.05, 0.5, 0.5, 0.5, 0.5, 0.05])
    turn = {"metadata": {"stepdown.conversation": "c1"}}
    other = {"metadata": {"stepdown.conversation": "c2"}}
    async with serving(routing(strong, small), ledger, draw=lambda: next(draws)) as client:
        explored = await client.chat(**turn)
        again = await client.chat(**turn)
        routed = await client.chat(**other)
        small.behaviour = always(error(500))
        fell = await client.chat(**other)
        back = await client.chat(**other)
    assert (explored.reason, again.reason) == ("exploration", "conversation_pinned")
    assert again.headers["x-stepdown-model"] == "gpt"
    assert routed.headers["x-stepdown-model"] == "mini"
    assert fell.reason == "small_model_failed"
    assert (back.reason, back.headers["x-stepdown-model"]) == ("conversation_pinned", "gpt")
    assert request_of(ledger, again.id).conversation == "c1"


async def test_a_prompt_with_tools_goes_to_strong(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with serving(routing(strong, small), ledger, draw=lambda: 0.0) as client:
        response = await client.chat(tools=tools)
    assert response.reason == "request_not_routable"
    assert strong.asked[0].json["tools"] == tools
    assert not small.asked


@pytest.mark.parametrize("asked", ["small", "mini"])
async def test_a_named_model_is_passed_straight_through(
    ledger: Ledger, strong: FakeModel, small: FakeModel, asked: str
) -> None:
    async with serving(routing(strong, small), ledger) as client:
        response = await client.chat(model=asked)
        small.behaviour = always(error(500, "boom"))
        failed = await client.chat(model=asked)
    assert (response.reason, response.headers["x-stepdown-model"]) == ("model_named", "mini")
    assert small.asked[0].json["model"] == "mini"
    assert request_of(ledger, response.id).model_asked == asked
    assert decision_of(ledger, response.id).chosen == "small"
    assert failed.status == 500
    assert not strong.asked


async def test_a_router_that_fails_on_a_prompt_does_not_fail_the_request(
    ledger: Ledger, strong: FakeModel, small: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from router.model import RouterModel

    def broken(self: object, prompt: object) -> None:
        raise ZeroDivisionError

    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    monkeypatch.setattr(RouterModel, "score", broken)
    async with serving(routing(strong, small), ledger) as client:
        response = await client.chat()
    assert (response.status, response.reason) == (200, "artifact_refused")


async def test_hints_are_on_record(ledger: Ledger, strong: FakeModel) -> None:
    hints = {"stepdown.reference": "42", "stepdown.check": "number", "stepdown.slice": "sums", "mine": "x"}
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat(metadata=hints)
    request = request_of(ledger, response.id)
    assert (request.reference, request.check, request.slice) == ('"42"', "number", "sums")
    assert strong.asked[0].json["metadata"] == {"mine": "x"}


async def test_tasks_have_their_own_policies(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes(), task="sums")
    sums = TaskSettings(small="small", exploration=0)
    async with serving(routing(strong, small, tasks={"sums": sums}), ledger) as client:
        for response in (
            await client.chat(model="stepdown/sums"),
            await client.chat({"X-Stepdown-Task": "sums"}),
        ):
            assert response.headers["x-stepdown-model"] == "mini"
            assert request_of(ledger, response.id).task == "sums"
        assert (await client.chat()).headers["x-stepdown-model"] == "gpt"
