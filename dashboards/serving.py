"""Runs the dashboard.

Invariant: its figures are warm before it says that it listens, so that no first visitor waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.app import create_app
from dashboards.charts.svg import warm
from stepdown.ledger import Ledger
from stepdown.serving import run_app
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
    own = settings.dashboard
    run_app(app, own.host, own.port, says="stepdown dashboard on", drain_s=DRAIN_S)
