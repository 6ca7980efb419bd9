"""A fake upstream that answers at once: whoever is measured in front of it is measured, not the model.

Plain answers are about 1.2 KB; streams are 50 events. Speaks just enough HTTP/1.1 for keep-alive clients.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

import uvloop

EVENTS = 50
_length = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def plain_answer() -> bytes:
    """A whole response."""
    text = "A cascade asks the cheap model first and the dear one when it must. " * 12
    usage = {"prompt_tokens": 420, "completion_tokens": 180, "total_tokens": 600}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps(
        {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    )
    return _head("application/json") + b"content-length: %d\r\n\r\n%b" % (len(body), body.encode())


def streamed_answer() -> bytes:
    """A whole streamed response, chunked, every event a chunk of its own."""
    head = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    choices = [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}] * (EVENTS - 2)
    choices += [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 420, "completion_tokens": 48, "total_tokens": 468}
    documents = [json.dumps({**head, "choices": [choice]}) for choice in choices]
    documents += [json.dumps({**head, "choices": [], "usage": usage}), "[DONE]"]
    events = [f"data: {document}\n\n".encode() for document in documents]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    return _head("text/event-stream") + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _head(content_type: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n".encode()


PLAIN, STREAMED = plain_answer(), streamed_answer()


class FakeUpstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _length.search(self._received, 0, end)
            size = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._received) < size:
                return
            request, self._received = self._received[:size], self._received[size:]
            assert self._transport is not None
            self._transport.write(STREAMED if b'"stream":true' in request else PLAIN)


async def serve() -> None:
    """Serve on a free port, which is printed."""
    server = await asyncio.get_running_loop().create_server(FakeUpstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(serve())
    except KeyboardInterrupt:
        sys.exit(0)
