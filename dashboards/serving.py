"""Runs the dashboard.

Invariant: what draws and writes pages is loaded before it says that it listens, and from then on what people
look at is drawn ahead of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.app import create_app
from dashboards.charts.svg import warm
from dashboards.pages import PREVIEWS
from stepdown.ledger import Ledger
from stepdown.serving import run_app
from stepdown.settings import Settings

DRAIN_S = 5
KEPT_S = 60.0


def serve(settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve until told to stop.

    Prints `stepdown dashboard on http://HOST:PORT` once requests are accepted.

    Raises:
        SettingsError: The settings do not allow serving.
        StepdownError: It could not start.
    """
    app = create_app(settings, ledger=Ledger(settings.database_url), environ=environ, kept_s=KEPT_S)
    warm()
    site, own = app.state.site, settings.dashboard
    site.renderer.warm()
    site.ahead.start([preview for previews in PREVIEWS for preview in previews(site)], site.tasks[0])
    run_app(app, own.host, own.port, says="stepdown dashboard on", drain_s=DRAIN_S)
