"""Server-sent events, cut at their boundaries and never rewritten.

Invariant: the events of a stream do not depend on how the network cut it, and joined together they are
the stream's bytes. Pure. The format: WHATWG HTML, section 9.2.6.
"""

from __future__ import annotations

import re

import msgspec

END_OF_LINE = rb"(?>\r\n|\n|\r)"
_boundary = re.compile(END_OF_LINE + END_OF_LINE)
_data = re.compile(rb"^data:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_no_choices = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class Splitter:
    """Cuts chunks into whole events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that this chunk completes."""
        pending = self._rest + chunk if self._rest else chunk
        events: list[bytes] = []
        start = 0
        for match in _boundary.finditer(pending):
            end = match.end()
            if end == len(pending) and pending[-1] == 0x0D:
                break  # the line feed of this carriage return may still come
            events.append(pending[start:end])
            start = end
        self._rest = pending[start:]
        return events

    def rest(self) -> bytes:
        """What has come of an event that is not whole; the splitter is empty afterwards."""
        rest, self._rest = self._rest, b""
        return rest


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, msgspec.Raw] | None = None


_chunk = msgspec.json.Decoder(_Chunk)


def is_done(event: bytes) -> bool:
    """Whether the event is `data: [DONE]`, the end of an OpenAI-shaped stream."""
    return b"[DONE]" in event and data_of(event) == b"[DONE]"


def is_usage_only(event: bytes) -> bool:
    """Whether the event carries usage and no choice: the one that `include_usage` asks for."""
    if _no_choices.search(event) is None or b'"usage"' not in event:
        return False
    try:
        chunk = _chunk.decode(data_of(event))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return chunk.choices == [] and chunk.usage is not None


def data_of(event: bytes) -> bytes:
    """The event's data: its `data:` lines, joined."""
    return b"\n".join(_data.findall(event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")))


class Gate:
    """Lets a stream's events through, holds its end back, and withholds what was not asked for.

    Attributes:
        held: The end of the stream: `data: [DONE]` and all after it.
        done: Whether that end has come.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._splitter = Splitter()
        self.held = b""
        self.done = False

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now that this chunk has come."""
        if self.done:
            self.held += chunk
            return b""
        events = self._splitter.feed(chunk)
        passed: list[bytes] = []
        for position, event in enumerate(events):
            if is_done(event):
                self.done = True
                self.held = b"".join(events[position:]) + self._splitter.rest()
                break
            if not (self._hide_usage and is_usage_only(event)):
                passed.append(event)
        return b"".join(passed)

    def close(self) -> bytes:
        """The held bytes, and whatever came without its blank line."""
        self.held += self._splitter.rest()
        return self.held
