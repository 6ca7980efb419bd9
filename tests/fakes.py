"""Fakes of what is outside: an upstream model as a real HTTP server on a free port.

The fake answers as it is told to, and remembers what it was asked. It is written on `asyncio` streams, so
that a test can say exactly which bytes go over the wire and when the connection breaks.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stepdown.settings import ModelSettings

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Asked:
    """A request that the fake was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What the fake answers.

    Attributes:
        parts: The body's pieces, each sent as a chunk of its own.
        pause_s: How long to wait before each piece.
        breaks: Whether to break the connection after the last piece.
        head_after_s: How long to wait before the head.
    """

    status: int = 200
    content_type: str = JSON
    parts: Sequence[bytes] = ()
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0
    breaks: bool = False
    head_after_s: float = 0.0


def completion(text: str = "Hello.", model: str = "fake", prompt: int = 7, answer: int = 3) -> bytes:
    """A chat completion, indented as no encoder of ours would, so that a rewritten one shows."""
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(document, indent=3).encode()


def plain(text: str = "Hello.", **usage: Any) -> Reply:
    """A whole answer."""
    return Reply(parts=(completion(text, **usage),))


def event(delta: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({**_HEAD, "choices": [choice], **fields}).encode() + b"\n\n"


_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
DONE = b"data: [DONE]\n\n"


def usage_event(prompt: int = 7, answer: int = 3) -> bytes:
    """The event that `include_usage` asks for."""
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return b"data: " + json.dumps({**_HEAD, "choices": [], "usage": usage}).encode() + b"\n\n"


def events(text: str = "Hello there, you.") -> list[bytes]:
    """A stream's events: one for each word, a finish reason, the usage, `[DONE]`."""
    words = [event({"content": word + " "}) for word in text.split()]
    return [event({"role": "assistant"}), *words, event({}, "stop"), usage_event(), DONE]


def streamed(text: str = "Hello there, you.", **how: Any) -> Reply:
    """A streamed answer."""
    return Reply(content_type=EVENTS, parts=events(text), **how)


def error(status: int, message: str = "no", **how: Any) -> Reply:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "fake_error", "param": None, "code": "fake"}}
    return Reply(status=status, parts=(json.dumps(body).encode(),), **how)


Behaviour = Callable[[Asked], Reply]


def obliging(asked: Asked) -> Reply:
    """Answers plainly or in a stream, as it was asked."""
    return streamed() if asked.json.get("stream") else plain()


@dataclass
class FakeModel:
    """An upstream model.

    Attributes:
        behaviour: What it answers; may be changed at any time.
        asked: What it was asked, in order.
        closed_early: How often a client broke off before the answer was sent.
    """

    behaviour: Behaviour = obliging
    asked: list[Asked] = field(default_factory=list)
    closed_early: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, model: str, **more: Any) -> ModelSettings:
        """Settings that name it."""
        return ModelSettings(model=model, url=self.url, **more)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                if not await self._answer(self.behaviour(asked), writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closed_early += 1
        except asyncio.CancelledError:
            writer.transport.abort()  # the fake goes down
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(reply.head_after_s)
        head = [f"HTTP/1.1 {reply.status} Fake", f"content-type: {reply.content_type}"]
        head += [f"{name}: {value}" for name, value in (*reply.headers, ("transfer-encoding", "chunked"))]
        writer.write("\r\n".join((*head, "\r\n")).encode())
        for part in reply.parts:
            if reply.pause_s:
                await writer.drain()
                await asyncio.sleep(reply.pause_s)
            if writer.transport.is_closing():
                self.closed_early += 1
                return False
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        if reply.breaks:
            await writer.drain()
            writer.close()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(head[0].split(" ")[1], headers, body)


@contextmanager
def running(*models: FakeModel) -> Iterator[None]:
    """Serve fakes from a thread of their own, so that any test, async or not, can use them."""
    loop = asyncio.new_event_loop()
    servers = [loop.run_until_complete(_listen(model)) for model in models]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_stop(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(model: FakeModel) -> asyncio.Server:
    server = await asyncio.start_server(model.serve, "127.0.0.1", model.port)
    model.port = server.sockets[0].getsockname()[1]
    return server


async def _stop(servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def closed_port() -> int:
    """A port on which nobody listens."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
