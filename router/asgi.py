"""What the endpoints need of ASGI: reading a body, noticing a hang-up, answering with bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Self

from router.wire import error_body
from stepdown.errors import BadRequest, BodyTooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
EVENTS: Header = (b"content-type", b"text/event-stream; charset=utf-8")


class ClientGone(Exception):
    """The client hung up."""


async def read_body(receive: Receive, declared: bytes | None, limit: int) -> bytes:
    """The body of a request.

    Args:
        receive: ASGI's.
        declared: The `Content-Length` header, or None.
        limit: Largest body accepted, in bytes.

    Raises:
        BodyTooLarge: It is larger; what has not been read of it is left unread.
        ClientGone: The client hung up.
    """
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    body = b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise _too_large(size, limit)
        if not message.get("more_body", False):
            return b"".join((*parts, body)) if parts else body
        parts.append(body)


def _too_large(size: int, limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes or more; at most {limit} are accepted (proxy.max_body_bytes)",
        code="body_too_large",
    )


class HangUp:
    """Ends its block with `ClientGone` when the client hangs up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> Self:
        self._block = asyncio.current_task()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        assert self._block is not None
        self._block.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            assert self._block is not None
            self._block.uncancel()
            raise ClientGone from None


async def respond(send: Send, status: int, body: bytes, headers: Iterable[Header] = (JSON,)) -> None:
    """Send a whole response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def refusal(error: BadRequest) -> bytes:
    """A refused request's body, in OpenAI's shape."""
    kind = "authentication_error" if error.status == 401 else "invalid_request_error"
    return error_body(str(error), kind=kind, code=error.code, param=error.param)
