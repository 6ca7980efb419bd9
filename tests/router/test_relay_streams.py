"""Streams: passed on event by event, on record before their end, whole or broken off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.sse import is_usage_only
from router.wire import read_answer
from stepdown.ledger import Ledger
from tests.fakes import (
    DONE,
    EVENTS,
    FakeModel,
    Reply,
    events,
    streamed,
    usage_event,
)
from tests.router.driver import CHAT, PRICES, Response, always, serving, settings_for, wire
from tests.router.ledgers import (
    calls_of,
    count,
    decision_of,
    request_of,
)


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
