"""The processes of `stepdown up`: which there are, when each is ready and when it is sick.

Invariant: they are the processes of compose.yaml, started with the same commands; only the schedule
runs inside the worker here. The module starts nothing itself.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from stepdown.heartbeat import Pulse, worker_beat
from stepdown.settings import Settings
from stepdown.supervisor import Child

WORKERS = {"worker": ("labels", "--beat"), "fitter": ("fits",), "evaluator": ("evals",)}
WORKERS_OF_STUDENTS = {"keeper": ("students",), "distiller": ("nights",)}
LABELS_LIMIT_S = 60.0
LONG_GRACE_S = 300.0
LOOK_TIMEOUT_S = 1.0
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def up_children(settings_file: Path | str, settings: Settings) -> list[Child]:
    """The children of `stepdown up`.

    Args:
        settings_file: File with the resolved settings, which the children read.
        settings: The same settings.
    """
    worker = command("worker", settings_file, "--queue")
    names = WORKERS | (WORKERS_OF_STUDENTS if settings.distils else {})
    return [
        Child("proxy", command("proxy", settings_file), ready=proxy_ready(settings)),
        *(
            _worker(name, worker_pulse(settings, queue), [*worker, queue, *options])
            for name, (queue, *options) in names.items()
        ),
        Child("dashboard", command("dashboard", settings_file), ready=dashboard_ready(settings)),
    ]


def worker_pulse(settings: Settings, queue: str) -> Pulse:
    """The heartbeat of a queue's worker, and the age from which on it is too old."""
    # A long task may rightly keep its worker from beating until its own time limit ends it.
    long_limit_s = settings.worker.soft_limit_s + LONG_GRACE_S
    limit_s = LABELS_LIMIT_S if queue == "labels" else long_limit_s
    return Pulse(settings.database_url, worker_beat(queue), limit_s)


def command(name: str, settings_file: Path | str, *options: str) -> list[str]:
    """The command line of one process, run by this very Python."""
    return [sys.executable, "-m", "stepdown", name, "--settings", str(settings_file), *options]


def proxy_ready(settings: Settings) -> Callable[[datetime], bool] | None:
    """Whether the proxy says that it is ready; None where its port is not known beforehand."""
    return _answers(settings.proxy.host, settings.proxy.port, "/readyz")


def dashboard_ready(settings: Settings) -> Callable[[datetime], bool] | None:
    """Whether the dashboard answers; None where its port is not known beforehand."""
    return _answers(settings.dashboard.host, settings.dashboard.port, "/healthz")


def _answers(host: str, port: int, path: str) -> Callable[[datetime], bool] | None:
    host = WILDCARDS.get(host, host)
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready(_started: datetime) -> bool:
        try:
            with direct.open(url, timeout=LOOK_TIMEOUT_S) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ready if port else None


def _worker(name: str, pulse: Pulse, argv: list[str]) -> Child:
    return Child(name, argv, ready=pulse.beaten_since, healthy=pulse.complaint)
