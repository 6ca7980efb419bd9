"""Reads the text of an answer's stream as it comes.

Invariant: the text does not depend on how the network cut the stream, and an event that cannot be read adds
none. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from router.sse import Splitter, data_of, events_in


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)


class Reader:
    """Reads one stream.

    Attributes:
        error: What an event said that was wrong; empty where none did.
    """

    def __init__(self) -> None:
        self.error = ""
        self._splitter = Splitter()

    def feed(self, chunk: bytes) -> str:
        """The text of the first choice in the events that this chunk completes."""
        return "".join(map(self._text, events_in(self._splitter.feed(chunk))))

    def _text(self, event: bytes) -> str:
        try:
            read = _chunk.decode(data_of(event))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""  # `[DONE]`, a comment that keeps the connection alive, or what is no chunk
        if read.error is not None:
            message = read.error.get("message") if isinstance(read.error, dict) else read.error
            self.error = str(message)[:500]
        deltas = [choice.delta for choice in read.choices if choice.index == 0 and choice.delta is not None]
        return "".join(
            text for delta in deltas for text in (delta.content, delta.refusal) if isinstance(text, str)
        )
