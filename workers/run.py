"""Runs a worker or the schedule in this process until it is told to stop.

Invariant: when this process dies, by whatever signal, its own children die with it. The module does
not decide which processes there are; `stepdown.supervisor` and compose.yaml do.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from celery.platforms import set_pdeathsig
from kombu.exceptions import OperationalError

from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from workers.factory import create_celery
from workers.names import QUEUES

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run_worker(settings: Settings, *, beat: bool = False, queues: Sequence[str] = ()) -> None:
    """Work on the queues, one task at a time, until SIGTERM or SIGINT.

    Args:
        settings: The settings.
        beat: Whether to run the schedule in a child process too; one schedule is enough for all workers.
        queues: The queues to work on; none given are all. The queue of fits is best left to a worker
            of its own, or labels wait for a fit to end.

    Raises:
        SettingsError: A queue is not known.
        LedgerError: The ledger cannot be opened.
    """
    if unknown := set(queues) - set(QUEUES):
        raise SettingsError(f"queue {min(unknown)!r} is not known; known: {', '.join(QUEUES)}")
    queues, app = queues or QUEUES, _prepare(settings)
    if beat:
        signals.beat_embedded_init.connect(_die_with_parent, weak=False)
        signals.beat_init.connect(_send_first_hints(app), weak=False)
    arguments = ["--quiet", "worker", f"--queues={','.join(queues)}", "--concurrency=1", "--pool=prefork"]
    arguments += [f"--hostname={'-'.join(queues)}@%h", "--loglevel=INFO"]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(arguments + ["--beat"] * beat)


def run_beat(settings: Settings) -> None:
    """Send the schedule's hints until SIGTERM or SIGINT.

    Raises:
        LedgerError: The ledger cannot be opened.
    """
    app = _prepare(settings)
    signals.beat_init.connect(_send_first_hints(app), weak=False)
    app.Beat(loglevel="INFO", quiet=True).run()


def _prepare(settings: Settings) -> Celery:
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # of root with pickle; messages are JSON only
    for noisy in ("celery", "kombu", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    Ledger(settings.database_url).close()  # brings the schema up to date before any task looks at it
    return create_celery(settings, os.environ)


def _send_first_hints(app: Celery) -> Any:
    """A handler that sends every hint at once: what came due while nobody ran is not waited for."""

    def send(**_: Any) -> None:
        try:
            for entry in app.conf.beat_schedule.values():
                app.send_task(entry["task"], args=entry["args"], **entry["options"])
        except OperationalError as error:
            log.warning("the broker is away, and the schedule sends its hints when it is back: %s", error)

    return send


def _die_with_parent(**_: Any) -> None:
    set_pdeathsig("SIGKILL")
