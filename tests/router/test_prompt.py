"""Prompts: the same text whatever its form, and needs that are never overlooked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prompt import Prompt, prompt_hash
from router.wire import read_prompt


def prompt(messages: list[dict[str, Any]], **fields: Any) -> Prompt:
    return read_prompt(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_messages_are_told_apart() -> None:
    turns = [
        said("system", "S"),
        said("user", "1"),
        said("assistant", "2"),
        said("developer", "D"),
        said("user", "3"),
    ]
    asked = prompt(turns, max_tokens=5, temperature=0.5)
    assert (asked.system, asked.history, asked.user, asked.messages) == ("S\nD", "1\n2", "3", 5)
    assert (asked.max_tokens, asked.temperature) == (5, 0.5)
    assert asked.text == "S\nD\n1\n2\n3"


def test_text_in_parts_is_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert prompt([said("user", parts)]).user == "a\nb"


def test_a_system_message_alone_has_no_user_text() -> None:
    assert prompt([said("system", "S")]).user == ""


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, set()),
        ({"response_format": {"type": "text"}, "n": 1, "logprobs": False, "tools": []}, set()),
        ({"tools": [{}]}, {"tools"}),
        ({"functions": [{}]}, {"tools"}),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        ({"logprobs": True}, {"logprobs"}),
        ({"n": 2}, {"choices"}),
    ],
)
def test_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert prompt([said("user", "x")], **fields).needs == needs


def test_parts_that_are_not_text_are_needs_known_or_not() -> None:
    parts = [{"type": kind} for kind in ("image_url", "input_audio", "file", "hologram", "refusal")]
    assert prompt([said("user", parts)]).needs == {"images", "audio", "files", "hologram"}


def test_the_newer_token_limit_wins() -> None:
    assert prompt([said("user", "x")], max_tokens=5, max_completion_tokens=9).max_tokens == 9


def test_duplicates_share_a_hash() -> None:
    same = [prompt([said("user", text)]) for text in ("Hello  World", " hello\nworld ")]
    assert len({prompt_hash(p) for p in same}) == 1
    other = prompt([said("system", "hello"), said("user", "world")])
    assert prompt_hash(other) != prompt_hash(same[0])


@given(st.lists(st.text() | st.text(" \t\n\x0b\x1c\x85\xa0aB\u3000ßİ"), min_size=3, max_size=3))
def test_a_hash_is_that_of_the_folded_words(texts: list[str]) -> None:
    system, history, user = texts
    asked = replace(prompt([said("user", "x")]), system=system, history=history, user=user)
    words = "\x00".join(" ".join(text.casefold().split()) for text in texts).encode("utf-8", "surrogatepass")
    assert prompt_hash(asked) == hashlib.blake2b(words, digest_size=16).hexdigest()
