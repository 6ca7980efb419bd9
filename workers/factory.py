"""Makes the Celery app: one app for both brokers, configured so that a killed worker costs nothing.

Invariant: nothing here reads the environment or opens a connection; the settings decide everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from celery import Celery
from kombu.entity import Exchange, Queue

from stepdown.heartbeat import EVERY_S
from stepdown.settings import Settings
from workers import folder, redis
from workers.names import (
    EVALS,
    FIT,
    FITS,
    HEARTBEAT,
    JUDGE,
    LABELS,
    NIGHT,
    NIGHTS,
    QUEUE_OF,
    QUEUES,
    RANK,
    RECONCILE,
    REPORT,
    ROLLOUT,
    ROLLUP,
    SLICES,
    STUDENTS,
    SUITES,
    SWEEP,
    queues_of,
)
from workers.tasks import register

GRACE_S = 60.0
LONGEST_WAIT_S = 120.0  # between two looks whether something is due that the ledger dates


class Hint(NamedTuple):
    """What is sent every so often: the Celery task, its queue, and the name that it is about."""

    task: str
    every_s: float
    queue: str
    about: str | None = None

    def entry(self) -> dict[str, Any]:
        """The entry of Celery's schedule."""
        return {
            "task": self.task,
            "schedule": self.every_s,
            "args": () if self.about is None else (self.about,),
            "options": {"queue": self.queue, "expires": max(self.every_s, EVERY_S)},
        }


def create_celery(settings: Settings, environ: Mapping[str, str] = MappingProxyType({})) -> Celery:
    """The Celery app for these settings, its tasks registered.

    Args:
        settings: All settings.
        environ: Where the keys of judges and of models under evaluation are.
    """
    app = Celery("stepdown", set_as_current=False)
    app.conf.update(_reliability(settings), **_routing(), **_quiet(), **_broker(settings))
    app.conf.beat_schedule = schedule(settings)
    app.conf.beat_scheduler = "celery.beat:Scheduler"  # keeps no file: what is due, the ledger says
    register(app, settings, environ)
    return app


def hard_limit_s(settings: Settings) -> float:
    """Seconds after which a task is killed."""
    return settings.worker.soft_limit_s + GRACE_S


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """What is sent, how often and where to; a hint that is not taken before the next one lapses."""
    worker = settings.worker
    hints = [Hint(HEARTBEAT, EVERY_S, queue, queue) for queue in queues_of(settings)]
    hints += [Hint(SWEEP, worker.label_every_s, LABELS), Hint(ROLLUP, worker.rollup_every_s, LABELS)]
    if any(task.judges for task in settings.tasks.values()):
        hints += [Hint(JUDGE, worker.judge_every_s, EVALS)]
    if any(task.suites for task in settings.tasks.values()):
        hints += [Hint(SUITES, worker.suites_every_s, EVALS)]
    for task in settings.tasks:
        hints += [
            Hint(FIT, worker.fit_every_s, FITS, task),
            Hint(REPORT, worker.report_every_s, FITS, task),
            Hint(RANK, worker.rank_every_s, EVALS, task),
            Hint(SLICES, min(worker.slices_every_s, LONGEST_WAIT_S), EVALS, task),
        ]
    hints += _of_students(settings)
    return {" ".join(filter(None, (hint.task, hint.about))): hint.entry() for hint in hints}


def _of_students(settings: Settings) -> list[Hint]:
    night, hints = settings.night, []
    if any(model.serving == "adapters" or model.sleeps for model in settings.models.values()):
        hints += [Hint(RECONCILE, night.reconcile_every_s, STUDENTS)]
    for name, task in settings.tasks.items():
        if task.small is not None and settings.distils:  # a student may be in force though no more are made
            hints += [Hint(ROLLOUT, night.rollout_every_s, STUDENTS, name)]
        if task.student is not None:
            hints += [Hint(NIGHT, night.look_every_s, NIGHTS, name)]
    return hints


def _reliability(settings: Settings) -> dict[str, Any]:
    # A message taken by a killed worker comes back after this time; until then the schedule's next
    # hint has done its work. It must be longer than any task, or tasks would run twice at once; only a
    # night may take longer, and of that the ledger's lock lets one run at a time.
    visibility = {"visibility_timeout": 2 * hard_limit_s(settings)}
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_soft_time_limit": settings.worker.soft_limit_s,
        "task_time_limit": hard_limit_s(settings),
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "result_backend_transport_options": visibility,
        **visibility,
    }


def _routing() -> dict[str, Any]:
    # The default exchange has no table of bindings that could get lost.
    direct = Exchange("", type="direct")  # type: ignore[no-untyped-call]
    return {
        "task_queues": [Queue(name, direct, routing_key=name) for name in QUEUES],  # type: ignore[no-untyped-call]
        "task_default_queue": LABELS,
        "task_default_exchange": "",
        "task_create_missing_queues": False,
        "task_routes": {name: {"queue": queue} for name, queue in QUEUE_OF.items()},
    }


def _quiet() -> dict[str, Any]:
    return {
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "timezone": "UTC",
        "enable_utc": True,
    }


def _broker(settings: Settings) -> dict[str, Any]:
    visibility = {"visibility_timeout": 2 * hard_limit_s(settings)}
    if settings.worker.broker:
        options = {**visibility, "health_check_interval": 10, "socket_keepalive": True}
        ours = settings.worker.broker.startswith(("redis://", "rediss://"))
        transport = {"broker_transport": redis.TRANSPORT} if ours else {}
        return {"broker_url": settings.worker.broker, "broker_transport_options": options, **transport}
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport": folder.TRANSPORT,
        "broker_transport_options": {**visibility, **folder.transport_options(settings.broker_folder)},
    }
