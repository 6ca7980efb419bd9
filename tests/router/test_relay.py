"""One chat request: relayed unchanged, decided before its first byte, on record before its last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from router.shadow import Shadows
from router.sse import is_usage_only
from router.wire import read_answer
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import ModelSettings, TaskSettings
from tests.fakes import (
    DONE,
    EVENTS,
    FakeModel,
    Reply,
    closed_port,
    completion,
    error,
    events,
    plain,
    streamed,
    usage_event,
)
from tests.router.driver import CHAT, HELLO, Response, serving, settings_for
from tests.router.ledgers import (
    calls_of,
    count,
    decision_of,
    only_request,
    promote,
    request_of,
    router_that_prefers,
)

PRICES = {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}


def always(reply: Reply) -> Callable[[Any], Reply]:
    return lambda asked: reply


def wire(**fields: Any) -> bytes:
    return json.dumps({"model": "stepdown", "messages": HELLO, **fields}).encode()


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


@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_is_relayed_event_by_event(
    ledger: Ledger, strong: FakeModel, wants_usage: bool
) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wants_usage else {}
    async with serving(settings_for(strong.settings("gpt", **PRICES)), ledger) as client:
        response = await client.chat(stream=True, **options)
    assert strong.asked[0].json["stream_options"]["include_usage"] is True
    sent = events()
    assert response.body == b"".join(e for e in sent if wants_usage or not is_usage_only(e))
    assert response.headers["content-type"] == EVENTS
    (call,) = calls_of(ledger, response.id)
    assert (call.complete, call.prompt_tokens, call.completion_tokens) == (True, 7, 3)
    assert ledger.body(call.body) == b"".join(sent)
    assert request_of(ledger, response.id).stream


async def test_events_are_passed_on_as_they_come(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = always(streamed(pause_s=0.02))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat(stream=True)
    assert len(response.chunks) > 3


async def test_the_end_is_sent_only_after_the_commit(ledger: Ledger, strong: FakeModel) -> None:
    on_record: list[tuple[bool, int]] = []

    def look(response: Response) -> None:
        held_back = DONE in response.body or (not response.headers["content-type"].startswith("text/event"))
        if response.chunks:
            on_record.append((held_back or response.ended, count(ledger, "calls")))

    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await client.send("POST", CHAT, wire(), seen=look)
        assert on_record == [(True, 1)]
        on_record.clear()
        strong.behaviour = always(streamed(pause_s=0.005))
        await client.send("POST", CHAT, wire(stream=True), seen=look)
    assert (False, 1) in on_record
    assert all(calls == 2 for at_end, calls in on_record if at_end)


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


async def test_unknown_fields_reach_the_upstream_byte_for_byte(ledger: Ledger, strong: FakeModel) -> None:
    odd = b'"vendor_x": {"b": 1.0e+2, "a": [1,  2], "c": "\\u00e9"}'
    body = b'{"model": "stepdown", "messages": [{"role":"user","content":"hi"}], ' + odd + b"}"
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await client.send("POST", CHAT, body, piece=7)
    assert odd.partition(b": ")[2] in strong.asked[0].body


async def test_a_client_that_hangs_up_mid_stream_leaves_what_was_produced(
    ledger: Ledger, strong: FakeModel
) -> None:
    strong.behaviour = always(streamed("one two three four five six", pause_s=0.05))
    async with serving(settings_for(strong.settings("gpt", **PRICES)), ledger) as client:
        response = await client.send("POST", CHAT, wire(stream=True), hangs_up=lambda r: len(r.chunks) == 2)
        await asyncio.sleep(0.15)
    assert not response.ended
    request, (call,) = request_of(ledger, response.id), calls_of(ledger, response.id)
    assert request.status == 499
    assert decision_of(ledger, response.id).chosen == "strong"
    assert not call.complete
    assert "hung up" in call.error
    produced = read_answer(ledger.body(call.body)).text
    assert call.usage_estimated, "the upstream had not counted yet"
    assert (call.prompt_tokens, call.completion_tokens) == (2, -(-len(produced) // 4))
    assert call.cost_usd_micros is not None
    assert ledger.body(call.body).startswith(response.body)
    assert DONE not in ledger.body(call.body)
    assert strong.closed_early == 1, "the upstream goes on producing for nobody"


async def test_a_client_that_hangs_up_before_the_answer_is_on_record_too(
    ledger: Ledger, strong: FakeModel
) -> None:
    strong.behaviour = always(replace(plain(), head_after_s=5))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await client.send("POST", CHAT, wire(), hangs_up=lambda r: True)
    request = only_request(ledger)
    (call,) = calls_of(ledger, request.id)
    assert (request.status, call.status, call.complete, call.body) == (499, 0, False, None)


async def test_an_upstream_that_dies_mid_stream_is_an_error_event_and_on_record(
    ledger: Ledger, strong: FakeModel
) -> None:
    for breaks in (True, False):
        reply = Reply(content_type=EVENTS, parts=events()[:3], breaks=breaks)
        strong.behaviour = always(reply)
        async with serving(settings_for(strong.settings("gpt")), ledger) as client:
            response = await client.chat(stream=True)
        assert response.body.startswith(b"".join(events()[:3]))
        assert b'data: {"error"' in response.chunks[-1]
        assert DONE not in response.body
        (call,) = calls_of(ledger, response.id)
        assert (call.status, call.complete) == (200, False)
        assert call.error
        assert ledger.body(call.body) == b"".join(events()[:3])


async def test_a_stream_that_ends_well_without_done_is_complete(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = always(Reply(content_type=EVENTS, parts=events()[:-1]))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat(stream=True)
    assert b"error" not in response.body
    assert calls_of(ledger, response.id)[0].complete


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


# Routing


def routing(strong: FakeModel, small: FakeModel, **task: Any) -> Any:
    task.setdefault("exploration", 0.1)
    return settings_for(strong.settings("gpt"), small.settings("mini"), **task)


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


async def test_usage_beside_choices_is_passed_on(ledger: Ledger, strong: FakeModel) -> None:
    """Events with choices that carry usage as well are the client's."""
    both = [
        *events()[:-2],
        usage_event().replace(b'"choices": []', b'"choices": [{"index": 0, "delta": {}}]'),
        DONE,
    ]
    strong.behaviour = always(Reply(content_type=EVENTS, parts=both))
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await client.chat(stream=True)
    assert response.body == b"".join(both)
    assert calls_of(ledger, response.id)[0].prompt_tokens == 7
