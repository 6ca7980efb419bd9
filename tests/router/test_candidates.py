"""The ways in which a portfolio asks: what they change of a request, and what they leave."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.candidates import Way, candidate_body, may_be_picked, ways_of
from router.wire import parse_chat, upstream_body
from stepdown.settings import CandidateSettings

USER = {"role": "user", "content": "hi"}


def asked(way: Way, **fields: Any) -> Any:
    body = json.dumps({"model": "stepdown", "messages": [USER], **fields}).encode()
    return json.loads(candidate_body(parse_chat(body), "gpt", way))


def test_every_sample_is_a_way_in_order_of_declaration() -> None:
    first, second = CandidateSettings(model="a", samples=2), CandidateSettings(model="b")
    assert ways_of([first, second]) == (Way(first, 0), Way(first, 1), Way(second, 0))


@pytest.mark.parametrize("stream", [False, True])
def test_a_way_that_changes_nothing_asks_as_the_client_did(stream: bool) -> None:
    body = b'{"model":"stepdown","stream":%s,"messages":[{"role":"user","content":"\\u00e9"}],"x":[1,  2]}'
    chat = parse_chat(body % str(stream).lower().encode())
    assert candidate_body(chat, "gpt", Way(CandidateSettings(model="a"), 0)) == upstream_body(chat, "gpt")


@pytest.mark.parametrize(
    ("messages", "first"),
    [
        ([USER], {"role": "system", "content": "Think."}),
        ([{"role": "system", "content": "Own."}, USER], {"role": "system", "content": "Think.\n\nOwn."}),
        (
            [{"role": "developer", "content": "Own."}, USER],
            {"role": "developer", "content": "Think.\n\nOwn."},
        ),
        (
            [{"role": "system", "content": "", "name": "n"}, USER],
            {"role": "system", "content": "Think.", "name": "n"},
        ),
        (
            [{"role": "system", "content": [{"type": "text", "text": "Own."}]}, USER],
            {
                "role": "system",
                "content": [{"type": "text", "text": "Think."}, {"type": "text", "text": "Own."}],
            },
        ),
    ],
)
def test_a_system_text_comes_before_the_requests_own(messages: list[Any], first: Any) -> None:
    sent = asked(Way(CandidateSettings(model="a", system="Think."), 0), messages=messages)["messages"]
    assert sent == [first, USER]


@given(st.text(), st.text(min_size=1))
def test_any_text_may_come_before_any(own: str, text: str) -> None:
    messages = [{"role": "system", "content": own}, USER]
    sent = asked(Way(CandidateSettings(model="a", system=text), 0), messages=messages)["messages"]
    assert [m["role"] for m in sent] == ["system", "user"]
    assert sent[0]["content"].startswith(text)
    assert sent[0]["content"].endswith(own)


@pytest.mark.parametrize(("given_seed", "sent"), [(7, 9), (None, None), ("x", "x"), (1.5, 1.5)])
def test_samples_have_seeds_of_their_own(given_seed: Any, sent: Any) -> None:
    assert asked(Way(CandidateSettings(model="a", samples=3), 2), seed=given_seed)["seed"] == sent


def test_no_seed_is_made_up() -> None:
    assert "seed" not in asked(Way(CandidateSettings(model="a", samples=3), 2))


def test_a_temperature_replaces_the_requests_own() -> None:
    assert asked(Way(CandidateSettings(model="a", temperature=0.7), 0), temperature=0)["temperature"] == 0.7
    assert asked(Way(CandidateSettings(model="a"), 0), temperature=0.2)["temperature"] == 0.2


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"response_format": {"type": "json_object"}}, True),
        ({"n": 1}, True),
        ({"n": 3}, False),
        ({"logprobs": True}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, False),
        ({"functions": [{"name": "f"}]}, False),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, False),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, True),
    ],
)
def test_where_a_pick_is_safe(fields: dict[str, Any], may: bool) -> None:
    body = json.dumps({"model": "stepdown", "messages": [USER], **fields}).encode()
    assert may_be_picked(parse_chat(body)) is may
