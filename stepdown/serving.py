"""Runs an ASGI application under uvicorn, on uvloop and httptools, and says where it listens.

Invariant: one that is told to stop (SIGTERM, SIGINT) answers what it has begun, and exits with 0. The module
knows no room, and is imported by what serves alone: uvicorn comes with it.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable

import uvicorn

from stepdown.errors import StepdownError


def run_app(
    app: Callable[..., Awaitable[None]],
    host: str,
    port: int,
    *,
    says: str,
    drain_s: int,
    keep_alive_s: int = 5,
) -> None:
    """Serve until told to stop.

    Args:
        app: What is served.
        host: The address to listen on.
        port: The port; 0 is any that is free.
        says: What is printed before the URL, once requests are accepted.
        drain_s: How long what has begun may take when it is told to stop.
        keep_alive_s: How long a connection stays open that nothing is asked on.

    Raises:
        StepdownError: The application did not begin, or the port cannot be listened on; uvicorn has printed
            which.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # uvicorn raises the signal again when it has stopped
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=drain_s,
    )
    server = _Server(config, says)
    try:
        server.run()
    except SystemExit:  # what most versions of uvicorn do where they cannot begin
        if server.started:
            raise
    if not server.started:
        raise StepdownError(f"nothing could be served on {host!r}, port {port}; the line above says why")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, says: str) -> None:
        super().__init__(config)
        self._says = says

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = self.config.host
            port = self.servers[0].sockets[0].getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            print(f"{self._says} http://{shown}:{port}", flush=True)
