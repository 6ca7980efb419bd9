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

    def feed(self, chunk: bytes) -> bytes:
        """The events that this chunk completes, in one piece; `events_in` tells them apart."""
        pending = self._rest + chunk if self._rest else chunk
        end = _end_of_events(pending)
        self._rest = pending[end:]
        return pending[:end]

    def rest(self) -> bytes:
        """What has come of an event that is not whole; the splitter is empty afterwards."""
        rest, self._rest = self._rest, b""
        return rest


def events_in(whole: bytes) -> list[bytes]:
    """The events of bytes that are whole events."""
    ends = [match.end() for match in _boundary.finditer(whole)]
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _end_of_events(pending: bytes) -> int:
    """Where the last whole event ends; 0 where there is none."""
    if b"\r" not in pending and b"\n\n\n" not in pending:  # nearly always, and then no two ways to cut
        found = pending.rfind(b"\n\n")
        return 0 if found < 0 else found + 2
    last = 0
    for match in _boundary.finditer(pending):
        end = match.end()
        if end == len(pending) and pending[-1] == 0x0D:
            break  # the line feed of this carriage return may still come
        last = end
    return last


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
        mark = self._first_mark(events)
        return events if mark < 0 else self._sift(events, _end_of_events(events[:mark]))

    def _first_mark(self, events: bytes) -> int:
        """Where bytes are that the end or a withheld event must have, and others hardly ever have; or -1."""
        done = events.find(b"[DONE]")
        if self._hide_usage and b'"usage"' in events and (found := _no_choices.search(events)):
            return found.start() if done < 0 else min(done, found.start())
        return done

    def _sift(self, events: bytes, start: int) -> bytes:
        """What may be sent on of events of which those up to `start` may."""
        passed = [events[:start]]
        for event in events_in(events[start:]):
            if is_done(event):
                self.done = True
                self.held = events[start:] + self._splitter.rest()
                break
            start += len(event)
            if not (self._hide_usage and is_usage_only(event)):
                passed.append(event)
        return b"".join(passed)

    def close(self) -> bytes:
        """The held bytes, and whatever came without its blank line."""
        self.held += self._splitter.rest()
        return self.held
