"""Runs the dashboard under uvicorn.

Invariant: one that is told to stop (SIGTERM, SIGINT) answers what it has begun, and exits with 0.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping

import uvicorn

from dashboards.app import create_app
from dashboards.charts.svg import warm
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.settings import Settings

DRAIN_S = 5


def serve(settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve until told to stop.

    Prints `stepdown dashboard on http://HOST:PORT` once requests are accepted.

    Raises:
        SettingsError: The settings do not allow serving.
        StepdownError: It could not start.
    """
    app = create_app(settings, ledger=Ledger(settings.database_url), environ=environ)
    warm()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # uvicorn raises the signal again when it has stopped
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.dashboard.host,
            port=settings.dashboard.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    server.run()
    if not server.started:
        raise StepdownError(
            f"the dashboard could not listen on {settings.dashboard.host!r}, port {settings.dashboard.port}; "
            "another process may have it"
        )


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = self.config.host
            port = self.servers[0].sockets[0].getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            print(f"stepdown dashboard on http://{shown}:{port}", flush=True)
