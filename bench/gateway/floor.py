"""A bare relay of the proxy's own stack: uvicorn, ASGI, aiohttp, and nothing between them.

No routing, no reading of what passes, no ledger: what it costs is what this stack costs, and what the proxy
costs beyond it is the product's own. Not for use: it forgets headers, and an upstream's error is a 500.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import aiohttp
import uvicorn

from router.asgi import EVENTS, Header, Receive, Scope, Send, read_body, respond

MAX_BODY_BYTES = 20_000_000


class BareRelay:
    """The ASGI application.

    Args:
        upstream: Port of the model that every request goes to.
    """

    def __init__(self, upstream: int) -> None:
        self._url = f"http://127.0.0.1:{upstream}/v1/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one request, or live."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._session is not None
        body = await read_body(receive, None, MAX_BODY_BYTES)
        headers = {"content-type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as reply:
            if reply.content_type == "text/event-stream":
                await _stream(reply, send)
            else:
                await respond(send, reply.status, await reply.read())

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _stream(reply: aiohttp.ClientResponse, send: Send) -> None:
    headers: list[Header] = [EVENTS]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for chunk in reply.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def main() -> None:
    """Relay to the port that is the first argument, from a free one, which is printed."""
    settings: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "ws": "none", "lifespan": "on"}
    app = BareRelay(int(sys.argv[1]))
    _Server(uvicorn.Config(app, port=0, access_log=False, log_level="error", **settings)).run()


if __name__ == "__main__":
    main()
