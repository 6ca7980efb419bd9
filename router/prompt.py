"""A prompt as the router sees it: the same value on the hot path and when a router is fitted.

Pure: a prompt is computed from the JSON of a chat request and from nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

CAPABILITIES = ("tools", "json", "images", "audio", "files", "logprobs", "choices")
_spaces = bytes(0x20 if chr(byte).isspace() and byte < 0x80 else byte for byte in range(256))
PART_CAPABILITY = {"image_url": "images", "input_audio": "audio", "file": "files"}


class Part(msgspec.Struct):
    """One part of a message's content; only `text` parts carry text."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message: the fields that the router reads."""

    role: str
    content: str | list[Part] | None = None


class ChatView(msgspec.Struct):
    """The fields of a chat request that the product reads; the rest passes through untouched."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, apart from who asks.

    Attributes:
        system: Text of the system and developer messages.
        history: Text of the messages between them and the last one.
        user: Text of the last message.
        messages: Number of messages, at least 1.
        needs: What a model must be capable of beside plain text, from `CAPABILITIES`.
        max_tokens: The caller's limit on the answer, or None.
        temperature: The caller's sampling temperature, or None.
    """

    system: str
    history: str
    user: str
    messages: int
    needs: frozenset[str]
    max_tokens: int | None
    temperature: float | None

    @property
    def text(self) -> str:
        """All text, in order."""
        return "\n".join(part for part in (self.system, self.history, self.user) if part)


def prompt_of(chat: ChatView) -> Prompt:
    """The prompt of a chat request."""
    system: list[str] = []
    others: list[str] = []
    for message in chat.messages:
        (system if message.role in ("system", "developer") else others).append(_text(message))
    return Prompt(
        system="\n".join(system),
        history="\n".join(others[:-1]),
        user=others[-1] if others else "",
        messages=len(chat.messages),
        needs=_needs(chat),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        temperature=chat.temperature,
    )


def prompt_hash(prompt: Prompt) -> str:
    """Hash under which duplicates meet: case and white space do not count. 32 hex digits."""
    parts = map(_normal, (prompt.system, prompt.history, prompt.user))
    return hashlib.blake2b(b"\x00".join(parts), digest_size=16).hexdigest()


def _normal(text: str) -> bytes:
    """The text folded, its words one space apart."""
    if not text.isascii():
        return " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    flat = text.encode().lower().translate(_spaces)  # the same, without an object for each word
    while b"  " in flat:
        flat = flat.replace(b"  ", b" ")
    return flat.strip(b" ")


def _text(message: Message) -> str:
    if isinstance(message.content, list):
        return "\n".join(part.text for part in message.content if part.text)
    return message.content or ""


def _needs(chat: ChatView) -> frozenset[str]:
    needs = {
        PART_CAPABILITY.get(part.type, part.type)
        for message in chat.messages
        if isinstance(message.content, list)
        for part in message.content
        if part.type not in ("text", "refusal")
    }
    if chat.tools or chat.functions:
        needs.add("tools")
    if chat.response_format and chat.response_format.get("type") != "text":
        needs.add("json")
    if chat.logprobs:
        needs.add("logprobs")
    if chat.n is not None and chat.n != 1:
        needs.add("choices")
    return frozenset(needs)
