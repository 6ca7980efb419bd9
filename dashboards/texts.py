"""What is in a body, as far as a page shows it: messages, settings of the request, tools, the answer's text.

Invariant: nothing here fails on what a client or a model wrote, and nothing is longer than a page can bear;
what was cut is said with its length. Pure: bytes in, values out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from router.wire import Answer, read_answer, read_prompt
from stepdown.errors import BadRequest

LONGEST_SHOWN = 100_000  # characters of a prompt or an answer
LONGEST_VALUE = 2_000
LONGEST_STREAM = 3_000_000  # bytes of a stream that are read: far more than is shown of its text
MOST_MESSAGES = 500
TOO_DEEP = "nested too deep to be shown here"
OWN_FIELDS = frozenset({"messages", "model", "tools", "functions", "stream", "stream_options", "metadata"})
_spaces = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Cut:
    """A text as it is shown.

    Attributes:
        text: Its beginning.
        left_out: Characters that are not shown.
        unread_bytes: Of a stream, after what was read of it.
    """

    text: str
    left_out: int = 0
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """One message.

    Attributes:
        notes: What it holds beside text: images, audio, files, tools that it calls.
        name: Of the tool whose answer it is, or of who speaks; empty where there is none.
    """

    role: str
    text: Cut
    notes: Sequence[str] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """A chat request.

    Attributes:
        left_out: Messages that are not shown.
        tools: Names of the tools that it offers; `tools_text` is their description as JSON.
        options: Its other fields, as JSON.
    """

    messages: Sequence[ShownMessage]
    left_out: int
    tools: Sequence[str]
    tools_text: Cut
    options: Mapping[str, str]


def cut(text: str, most: int = LONGEST_SHOWN) -> Cut:
    """A text that is shown, cut where it is too long."""
    return Cut(text) if len(text) <= most else Cut(text[:most], len(text) - most)


def shown_prompt(body: bytes) -> ShownPrompt | None:
    """A request's body; None where it is no chat request that can be read."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = fields.get("messages") if isinstance(fields, dict) else None
    if not isinstance(messages, list):
        return None
    tools = [*_list(fields.get("tools")), *_list(fields.get("functions"))]
    return ShownPrompt(
        messages=_messages(messages[:MOST_MESSAGES]),
        left_out=max(0, len(messages) - MOST_MESSAGES),
        tools=[name for tool in tools if (name := _tool_name(tool))],
        tools_text=cut(_json(tools, indent=2)) if tools else Cut(""),
        options={str(k): cut(_json(v), LONGEST_VALUE).text for k, v in fields.items() if k not in OWN_FIELDS},
    )


def _messages(messages: Sequence[Any]) -> list[ShownMessage]:
    """The messages, which share the room that there is; the last one, which is the question, comes first."""
    left, found = LONGEST_SHOWN, []
    for message in [messages[-1:], *([one] for one in messages[:-1])]:
        for one in message:
            shown = _message(one if isinstance(one, dict) else {"content": _json(one)}, left)
            left -= len(shown.text.text)
            found.append(shown)
    return [*found[1:], *found[:1]]


def _message(message: Mapping[str, Any], most: int) -> ShownMessage:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    text = content if isinstance(content, str) else "\n".join(filter(None, map(_part_text, parts)))
    notes = [note for part in parts if (note := _part_note(part))]
    notes += [f"calls {name}({arguments})" for name, arguments in _calls(message)]
    names = (message.get("name"), message.get("tool_call_id"))
    name = next((str(name)[:200] for name in names if name), "")
    return ShownMessage(str(message.get("role", "none"))[:40], cut(text, most), notes, name)


def _part_text(part: Any) -> str:
    return str(part.get("text") or "") if isinstance(part, dict) else ""


def _part_note(part: Any) -> str:
    """What a part is that has no text."""
    if not isinstance(part, dict) or part.get("type") in ("text", "refusal", None):
        return ""
    kind = str(part["type"])[:40]
    held = part.get(kind)
    if kind == "image_url":
        address = str(held.get("url", "") if isinstance(held, dict) else held)
        if not address.startswith("data:"):
            return f"image at {address[:300]}"
        form = address[5:60].partition(";")[0] or "of no type"
        return f"image in the request ({form}, {len(address):,} characters)"
    return f"{kind} ({len(_json(held)):,} characters)"


def _calls(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    calls = [call.get("function") for call in _list(message.get("tool_calls")) if isinstance(call, dict)]
    calls.append(message.get("function_call"))
    return [
        (str(call.get("name"))[:200], cut(str(call.get("arguments", "")), LONGEST_VALUE).text)
        for call in calls
        if isinstance(call, dict)
    ]


def _tool_name(tool: Any) -> str:
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    return str(function.get("name", ""))[:200] if isinstance(function, dict) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:  # reading goes a little deeper than writing
        return TOO_DEEP


def answer_in(body: bytes) -> Answer:
    """What an answer's body says; of a very long stream only its beginning is read."""
    return read_answer(body[: _readable(body)])


def _readable(body: bytes) -> int:
    """How many bytes of an answer are read."""
    if len(body) <= LONGEST_STREAM or body.lstrip()[:1] == b"{":
        return len(body)
    return body.rfind(b"\n\n", 0, LONGEST_STREAM) + 2


def shown_answer(body: bytes) -> Cut:
    """The text of an answer's body."""
    shown = cut(answer_text(answer_in(body)))
    return replace(shown, unread_bytes=len(body) - _readable(body))


def answer_text(answer: Answer) -> str:
    """An answer as text: what it says, what it refuses, which tools it calls."""
    called = [f"calls {call.name}({call.arguments})" for call in answer.tool_calls]
    return "\n".join(part for part in (answer.text, answer.refusal, *called) if part)


def prompt_text(body: bytes) -> str | None:
    """All text of a request's body; None where it is no chat request."""
    try:
        return read_prompt(body).text
    except BadRequest:
        return None


def first_line(body: bytes, most: int = 160) -> str | None:
    """The beginning of a request's last message, on one line; None where it is no chat request."""
    try:
        text = read_prompt(body).user
    except BadRequest:
        return None
    line = _spaces.sub(" ", text[: 4 * most]).strip()
    return line if len(line) <= most else line[:most].rstrip() + "…"
