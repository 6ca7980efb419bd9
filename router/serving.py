"""Runs the proxy.

Invariant: a proxy without keys listens on a loopback address only.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping

from router.access import check_address
from router.app import create_app
from router.picking import StagesOf, plain_stages
from stepdown.serving import run_app
from stepdown.settings import Settings

DRAIN_S = 30
KEEP_ALIVE_S = 75
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
    own = settings.proxy
    says = "stepdown proxy listening on"
    run_app(app, own.host, own.port, says=says, drain_s=DRAIN_S, keep_alive_s=KEEP_ALIVE_S)


def _collect_seldom() -> None:
    """Look for garbage in cycles less often, and never among what lives as long as the process.

    A request makes hundreds of objects that are freed without the collector, which each time would
    walk through all those of the requests under way.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
