"""Counting tokens: by the student's own tokenizer, or, where none is at hand, by a rule of thumb.

Invariant: a count by the rule of thumb is never passed off as an exact one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

TokenCounter = Callable[[Sequence[Mapping[str, Any]]], list[int]]
"""Tokens of each example, given as {"messages": [...], "tools": [...]}; tools may be absent."""

CHARACTERS_A_TOKEN = 4
FRAME = 4  # tokens that a chat template puts around a message, about
REFUSED = 2**31 - 1  # what a counter says of an example that the student's chat template refuses
APPROXIMATE = f"approximate: {CHARACTERS_A_TOKEN} characters a token"
EXACT = "the student's tokenizer"


def approximate_tokens(examples: Sequence[Mapping[str, Any]]) -> list[int]:
    """Four characters a token, and four tokens a message for the template."""
    return [_approximate(example) for example in examples]


def counted_by(count: TokenCounter) -> str:
    """What a counter is called on the card."""
    return APPROXIMATE if count is approximate_tokens else EXACT


def _approximate(example: Mapping[str, Any]) -> int:
    messages, tools = example["messages"], example.get("tools")
    characters = sum(map(_characters, messages))
    if tools:
        characters += len(msgspec.json.encode(tools))
    return FRAME * len(messages) + math.ceil(characters / CHARACTERS_A_TOKEN)


def _characters(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls")
    return len(message.get("content") or "") + (len(msgspec.json.encode(calls)) if calls else 0)
