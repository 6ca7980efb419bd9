"""The tasks: each looks at the ledger and has the right room do what is left to do.

Invariant: a task is given a name at most and returns nothing, and running it twice changes nothing. What it
does is decided elsewhere; the heavy rooms are imported by the process that runs the task.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

from celery import Celery

from evals.feedback import label_feedback
from evals.label_spans import LabelSpans
from evals.labelling import label_all
from stepdown.heartbeat import beating, worker_beat
from stepdown.ledger import Ledger
from stepdown.settings import Settings, TaskSettings
from workers.names import (
    FIT,
    HEARTBEAT,
    JUDGE,
    NIGHT,
    NIGHTS,
    RANK,
    RECONCILE,
    REPORT,
    ROLLOUT,
    ROLLUP,
    SLICES,
    SUITES,
    SWEEP,
)

SWEEP_BUDGET_S = 20.0
JUDGE_BUDGET_S = 120.0
SUITES_BUDGET_S = 300.0
ROLLUP_BUDGET_S = 10.0
LONGEST_NIGHT_S = 24 * 3600.0  # each of its stages has a budget of its own, and ends by that

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


def register(app: Celery, settings: Settings, environ: Mapping[str, str]) -> None:
    """Register the tasks with an app.

    Args:
        app: Where to.
        settings: All settings.
        environ: Where the keys of judges and of models under evaluation are.
    """
    ledger = LedgerPerProcess(settings.database_url)
    _register_labelling(app, settings, ledger)
    _register_fits(app, settings, ledger)
    _register_evaluation(app, settings, ledger, environ)
    _register_distillation(app, settings, ledger, environ)

    @app.task(name=HEARTBEAT, shared=False)
    def heartbeat(queue: str) -> None:
        ledger().beat(worker_beat(queue))


def _within(budget_s: float, settings: Settings) -> float:
    """A time budget that ends well before the task is stopped."""
    return min(budget_s, settings.worker.soft_limit_s / 2)


def _declared(settings: Settings, task: str) -> TaskSettings | None:
    """The settings of a task; None where an old hint speaks of one that is declared no more."""
    if task not in settings.tasks:
        log.info("task %r is declared no more; a hint about it is passed over", task)
    return settings.tasks.get(task)


def _register_labelling(app: Celery, settings: Settings, ledger: LedgerPerProcess) -> None:
    spans = LabelSpans(settings.tracing)

    @app.task(name=SWEEP, shared=False)
    def sweep() -> None:
        budget_s = _within(SWEEP_BUDGET_S, settings)
        deadline = time.monotonic() + budget_s
        batch = settings.worker.batch
        counts = label_all(ledger(), settings.tasks, batch=batch, budget_s=budget_s, kept=spans)
        counts += label_feedback(ledger(), settings.tasks, deadline=deadline)
        if counts.labelled:
            log.info("labelled %s", counts)

    @app.task(name=ROLLUP, shared=False)
    def rollup() -> None:
        from evals.rollups.fill import roll_up
        from evals.summary.operations import keep_operations

        roll_up(ledger(), budget_s=_within(ROLLUP_BUDGET_S, settings))
        keep_operations(ledger(), settings)


def _register_fits(app: Celery, settings: Settings, ledger: LedgerPerProcess) -> None:
    said: dict[str, object] = {}

    @app.task(name=FIT, shared=False)
    def fit(task: str) -> None:
        from evals.refit import refit

        if (declared := _declared(settings, task)) is None:
            return
        done = refit(ledger(), task, declared)
        if done != said.get(task):  # the same reason not to fit is said once
            log.info("task %s: %s", task, done)
            said[task] = done

    @app.task(name=REPORT, shared=False)
    def report(task: str) -> None:
        from distill.bill.keep import keep_roll
        from evals.summary.keep import report_and_summaries

        if (declared := _declared(settings, task)) is not None:
            report_and_summaries(ledger(), settings, task)
            if declared.student is not None:
                keep_roll(ledger(), settings, task)


def _register_evaluation(
    app: Celery, settings: Settings, ledger: LedgerPerProcess, environ: Mapping[str, str]
) -> None:
    @app.task(name=JUDGE, shared=False)
    def judge() -> None:
        from evals.judge.sweep import judge_all

        counts = judge_all(ledger(), settings, environ, budget_s=_within(JUDGE_BUDGET_S, settings))
        if counts.judged:
            log.info("judged %s", counts)
        for note in counts.notes:
            log.warning("%s", note)

    @app.task(name=RANK, shared=False)
    def rank_queue(task: str) -> None:
        from evals.queue import rank

        if (declared := _declared(settings, task)) is not None:
            rank(ledger(), task, declared)

    @app.task(name=SLICES, shared=False)
    def slices(task: str) -> None:
        from evals.slices.due import slice_if_due

        declared, every_s = _declared(settings, task), settings.worker.slices_every_s
        if declared is not None and slice_if_due(ledger(), task, declared, every_s=every_s):
            log.info("task %s: its traffic was clustered anew", task)

    @app.task(name=SUITES, shared=False)
    def suites() -> None:
        from evals.harness.due import run_due_suites

        run_due_suites(ledger(), settings, environ, budget_s=_within(SUITES_BUDGET_S, settings))


def _register_distillation(
    app: Celery, settings: Settings, ledger: LedgerPerProcess, environ: Mapping[str, str]
) -> None:
    said: set[str] = set()

    @app.task(name=RECONCILE, shared=False)
    def reconcile() -> None:
        from distill.serving.reconcile import reconcile

        lines = reconcile(ledger(), settings, environ)
        for line in lines:
            if line not in said:  # what stays wrong is said once
                log.info("%s", line)
        said.clear()
        said.update(lines)

    @app.task(name=ROLLOUT, shared=False)
    def rollout(task: str) -> None:
        from distill.rollout.look import look

        if _declared(settings, task) is not None and (done := look(ledger(), settings, task)):
            log.info("task %s: %s", task, done)

    @app.task(name=NIGHT, shared=False, soft_time_limit=LONGEST_NIGHT_S, time_limit=LONGEST_NIGHT_S + 60)
    def night(task: str) -> None:
        from distill.night.run import look

        if _declared(settings, task) is None:
            return
        # A night keeps its worker from taking the task that beats, for hours; so it beats itself.
        with beating(settings.database_url, worker_beat(NIGHTS)):
            done = look(ledger(), settings, environ, task)
        if done:
            log.info("task %s: %s", task, done)
