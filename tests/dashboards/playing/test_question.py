"""What is asked is what was written; what cannot be asked is refused by the name of its field."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dashboards.playing.question import LONGEST_REPLAYED, Filled, filled, form_of, question_of
from stepdown.errors import BadRequest

MESSAGES = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]


def test_a_prompt_with_its_system_text() -> None:
    question = question_of(
        filled({"system": "Be brief.", "user": "one\r\ntwo", "temperature": "0.5", "max_tokens": "9"})
    )
    assert question.fields == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one\ntwo"}],
        "temperature": 0.5,
        "max_tokens": 9,
    }
    assert (question.prompt.system, question.prompt.user) == ("Be brief.", "one\ntwo")


def test_messages_or_a_whole_request_as_json() -> None:
    assert question_of(Filled(messages=json.dumps(MESSAGES))).fields == {"messages": MESSAGES}
    tools = [{"type": "function", "function": {"name": "f"}}]
    whole = {
        "model": "x",
        "user": "someone",
        "messages": MESSAGES,
        "tools": tools,
        "stream": True,
        "seed": None,
    }
    question = question_of(Filled(messages=json.dumps(whole)))
    assert question.fields == {"messages": MESSAGES, "tools": tools}  # neither who asked, nor how it is sent
    assert question.prompt.needs == {"tools"}


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({}, "nothing to ask"),
        ({"system": "only this"}, "nothing to ask"),
        ({"user": "x", "messages": "[]"}, "give either"),
        ({"messages": "{"}, "not JSON"),
        ({"messages": "5"}, "neither a list"),
        ({"messages": "[]"}, "messages"),
        ({"messages": '[{"content": "x"}]'}, "role"),
        ({"messages": "[" * 5000}, "messages"),
        ({"user": "x", "temperature": "hot"}, "temperature"),
        ({"user": "x", "temperature": "3"}, "temperature"),
        ({"user": "x", "max_tokens": "0"}, "max_tokens"),
        ({"user": "x", "max_tokens": "nan"}, "max_tokens"),
    ],
)
def test_what_cannot_be_asked_is_refused(form: dict[str, str], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        question_of(filled(form))


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": "plain"}]},
        {
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u\nv"}],
            "temperature": 0.7,
        },
        {"messages": MESSAGES, "max_tokens": 100},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}]}]},
        {
            "messages": [{"role": "user", "content": "x", "name": "n"}],
            "response_format": {"type": "json_object"},
        },
        {
            "messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "مرحبا"}],
            "stop": ["."],
        },
    ],
)
def test_a_request_of_the_ledger_is_asked_again_as_it_was(fields: dict[str, Any]) -> None:
    body = msgspec.json.encode(
        {"model": "stepdown", "stream": True, "metadata": {"stepdown.check": "c"}, **fields}
    )
    assert question_of(form_of(body)).fields == fields


def test_a_simple_request_fills_the_simple_fields() -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}
    )
    assert form_of(body.encode()) == Filled(system="s", user="u")


def test_what_is_too_long_or_no_request_is_not_replayed() -> None:
    long = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * (LONGEST_REPLAYED + 1)}]})
    with pytest.raises(BadRequest, match="too many to replay"):
        form_of(long.encode())
    with pytest.raises(BadRequest):
        form_of(b"\xff")
