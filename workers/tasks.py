"""The tasks: each looks at the ledger and has the right room do what is left to do.

Invariant: a task is given a name at most and returns nothing, and running it twice changes nothing. What it
does is decided elsewhere; the heavy rooms are imported by the process that runs the task.
"""

from __future__ import annotations

import logging
import os

from celery import Celery

from evals.labelling import label_all
from stepdown.heartbeat import worker_beat
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from workers.names import FIT, HEARTBEAT, REPORT, SWEEP

SWEEP_BUDGET_S = 20.0

log = logging.getLogger(__name__)


class LedgerPerProcess:
    """The ledger, opened anew in each process: a connection does not outlive a fork."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: tuple[int, Ledger] | None = None

    def __call__(self) -> Ledger:
        """The ledger of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), Ledger(self._url, migrated=False))
        return self._opened[1]


def register(app: Celery, settings: Settings) -> None:
    """Register the tasks with an app."""
    ledger = LedgerPerProcess(settings.database_url)
    said: dict[str, object] = {}

    @app.task(name=SWEEP, shared=False)
    def sweep() -> None:
        budget_s = min(SWEEP_BUDGET_S, settings.worker.soft_limit_s / 2)
        counts = label_all(ledger(), settings.tasks, batch=settings.worker.batch, budget_s=budget_s)
        if counts.labelled:
            log.info("labelled %d calls: %s", counts.labelled, counts)

    @app.task(name=FIT, shared=False)
    def fit(task: str) -> None:
        from evals.refit import refit

        done = refit(ledger(), task, settings.tasks[task])
        if done != said.get(task):  # the same reason not to fit is said once
            log.info("task %s: %s", task, done)
            said[task] = done

    @app.task(name=REPORT, shared=False)
    def report(task: str) -> None:
        from evals.report.keep import keep_report

        keep_report(ledger(), settings, task)

    @app.task(name=HEARTBEAT, shared=False)
    def heartbeat(queue: str) -> None:
        ledger().beat(worker_beat(queue))
