"""OpenAI's chat fine-tuning JSONL: written, read, and checked line by line.

A line is `{"messages": [...], "tools": [...]}`. The `weight` of an assistant's message is OpenAI's: 1 is
learnt from, 0 is not. Here only the last message is ever learnt from, so earlier answers are written with 0.

Invariant: a file is read whole or refused, its bad lines named by number; what was written reads back as the
same conversations. Text alone can be learnt: lines with images are left out, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from distill.dataset.example import Chat, Example
from distill.dataset.messages import Unusable, is_json, plain
from distill.dataset.texts import asked_of
from evals.harness.lines import LineFault, read_object, text_field
from stepdown.errors import DatasetError

ROLES = ("system", "developer", "user", "assistant", "tool")
MOST_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One conversation of a file.

    Attributes:
        licence: As the line names it, or None; `slice` likewise.
    """

    number: int
    messages: Sequence[Chat]
    tools: Sequence[Chat] | None
    slice: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """The conversations of a file, and why others of it were left out."""

    lines: Sequence[Line]
    left_out: Mapping[str, int] = field(default_factory=dict)


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples as fine-tuning JSONL; returns how many.

    Raises:
        DatasetError: The file cannot be written.
    """
    lines = [encode(example) for example in examples]
    try:
        path.write_bytes(b"".join(lines))
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    return len(lines)


def encode(example: Example) -> bytes:
    """An example as a line."""
    *before, last = example.messages
    weighed = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in before]
    return msgspec.json.encode({**example.chat, "messages": [*weighed, last]}) + b"\n"


def read_lines(path: Path) -> Lines:
    """The conversations of a file.

    Raises:
        DatasetError: It cannot be read, or lines of it are no examples; names them.
    """
    found: list[Line] = []
    bad: list[str] = []
    left_out: Counter[str] = Counter()
    for number, content in _rows(path):
        try:
            found.append(decode(number, content))
        except LineFault as fault:
            bad.append(f"\n  {path}:{number}: {fault}")
        except Unusable as why:
            left_out[str(why)] += 1
    if bad:
        more = f"\n  and {len(bad) - MOST_LISTED} more" if len(bad) > MOST_LISTED else ""
        shown = "".join(bad[:MOST_LISTED])
        raise DatasetError(f"{str(path)!r}: {len(bad)} lines are no examples; mend them{shown}{more}")
    return Lines(found, dict(left_out))


def _rows(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def decode(number: int, content: bytes) -> Line:
    """A line as a conversation.

    Raises:
        LineFault: It is none.
        Unusable: It is one, but not of text alone.
    """
    row = read_object(content)
    messages, tools = row.get("messages"), row.get("tools")
    if not isinstance(messages, list) or not messages:
        raise LineFault("`messages` must be a list that is not empty")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(t, dict) for t in tools)):
        raise LineFault("`tools` must be a list of objects")
    for place, message in enumerate(messages):
        _check(f"messages[{place}]", message)
    last = messages[-1]
    if last["role"] != "assistant":
        raise LineFault(f"the last message is of role {last['role']!r}; it must be the assistant's")
    if last.get("weight") == 0:
        raise LineFault("the last message has weight 0, so there is nothing to learn")
    if len(messages) == 1:
        raise LineFault("nothing is asked before the answer")
    asked = asked_of(messages[:-1], tools)
    answer = plain(last)
    if not answer["content"].strip() and not answer.get("tool_calls"):
        raise LineFault("the last message is empty")
    return Line(
        number=number,
        messages=[*asked.messages, answer],
        tools=asked.tools,
        slice=text_field(row, "slice"),
        licence=text_field(row, "licence") or text_field(row, "license"),
    )


def _check(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise LineFault(f"{where} is a {type(message).__name__}, not an object")
    if message.get("role") not in ROLES:
        raise LineFault(f"{where}.role = {message.get('role')!r:.100} is none of {', '.join(ROLES)}")
    content = message.get("content")
    if not (content is None or isinstance(content, str) or _parts(content)):
        raise LineFault(f"{where}.content = {content!r:.100} is neither text nor a list of parts")
    weight = message.get("weight")
    if weight is not None and (weight not in (0, 1) or message["role"] != "assistant"):
        raise LineFault(f"{where}.weight = {weight!r:.100}; only an assistant's message has one, 0 or 1")
    calls = message.get("tool_calls")
    if calls is not None:
        _check_calls(f"{where}.tool_calls", calls)


def _parts(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("type"), str) and _part_text(part) for part in content
    )


def _part_text(part: Mapping[str, Any]) -> bool:
    return part["type"] != "text" or isinstance(part.get("text"), str)


def _check_calls(where: str, calls: Any) -> None:
    if not isinstance(calls, list):
        raise LineFault(f"{where} = {calls!r:.100} is not a list")
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise LineFault(f"{where}[{place}] names no function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str) or not is_json(arguments):
            raise LineFault(f"{where}[{place}].function.arguments must be JSON as text")
