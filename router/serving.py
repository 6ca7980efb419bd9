"""Runs the proxy under uvicorn, on uvloop and httptools.

Invariant: a proxy without keys listens on a loopback address only; one that is told to stop (SIGTERM,
SIGINT) answers what it has begun, and exits with 0.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Mapping

import uvicorn

from router.access import check_address
from router.app import create_app
from router.picking import StagesOf, plain_stages
from stepdown.errors import StepdownError
from stepdown.settings import Settings

DRAIN_S = 30
KEEP_ALIVE_S = 75
BACKLOG = 2048
COLLECT_AFTER = 20_000  # objects made and not yet freed
SWITCH_INTERVAL_S = 0.0005  # the writer thread must not keep the event loop waiting for 5 ms


def serve(settings: Settings, environ: Mapping[str, str], *, stages_of: StagesOf = plain_stages) -> None:
    """Serve until told to stop.

    Prints `stepdown proxy listening on http://HOST:PORT` once requests are accepted.

    Args:
        settings: All settings.
        environ: Where the upstreams' keys are.
        stages_of: Makes what picks among the candidates of a task's portfolio.

    Raises:
        SettingsError: The settings do not allow serving.
        StepdownError: The proxy could not start.
    """
    check_address(settings)
    app = create_app(settings, environ=environ, stages_of=stages_of)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _collect_seldom()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # uvicorn raises the signal again when it has stopped
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.proxy.host,
            port=settings.proxy.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    server.run()
    if not server.started:
        raise StepdownError("the proxy could not start; the line above says why")


def _collect_seldom() -> None:
    """Look for garbage in cycles less often, and never among what lives as long as the process.

    A request makes hundreds of objects that are freed without the collector, which each time would
    walk through all those of the requests under way.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = self.config.host
            port = self.servers[0].sockets[0].getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            print(f"stepdown proxy listening on http://{shown}:{port}", flush=True)
