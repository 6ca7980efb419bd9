"""What is left to do, of all tasks, counted often and cheaply: how many answers wait for a label, since when.

Invariant: a look goes on where the one before found the first that waits, so that it does not read what has
long been labelled; once an hour it begins at the beginning, for calls that were made late for old requests
and references that came late. However large a ledger is, of a task no more than its newest requests are read,
or the worker that looks could not beat meanwhile. Counts end at a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from evals.judge.backlog import Sought, unjudged
from evals.judge.judges import version_of
from evals.labelling import labellers
from evals.summary.documents import Operations
from evals.summary.kept import keep, newest
from evals.summary.waiting import Waiting, newest_since, waiting_for_checks
from stepdown.ids import now
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger
from stepdown.settings import Settings, TaskSettings
from stepdown.summaries import ALL_TASKS, Summaries

WHOLE_LOOK = timedelta(hours=1)
UNDER_WAY = timedelta(hours=1)  # a call may be committed so long after its request came
MOST, MOST_JUDGED = 10_000, 1_000
LOOKED_AT, LOOKED_AT_BY_JUDGE = 1_000_000, 100_000  # requests; a judge's share is drawn one by one
LABELS, EVALS, FITS = "labels", "evals", "fits"


class _Backlog(NamedTuple):
    """What waits in a queue for the checks of a task, or for one of its judges.

    Attributes:
        key: Names those who label and their versions.
        capped: Whether there may be more.
    """

    task: str
    queue: str
    key: str
    waiting: Waiting
    capped: bool


def keep_operations(ledger: Ledger, settings: Settings, *, at: datetime | None = None) -> Operations:
    """Look at what is left to do, and keep what was found.

    Args:
        ledger: What is looked at, and where it is kept.
        settings: All settings.
        at: The present; None asks the clock.

    Raises:
        LedgerError: The ledger refused.
    """
    at = at or now()
    kept = newest(ledger, ALL_TASKS, Operations)
    before = kept.document if kept else None
    looked = before.whole_look_at if before else None
    whole = looked is None or not looked <= at < looked + WHOLE_LOOK
    frontiers = {} if whole or before is None else before.frontiers
    backlogs = [one for task in settings.tasks for one in _backlogs(ledger, settings, task, frontiers)]
    found = Operations(
        at=at,
        label_backlog={task: _sum(backlogs, task) for task in settings.tasks},
        oldest_unlabelled_s={
            task: _age_s(at, [one for one in backlogs if one.task == task]) for task in settings.tasks
        },
        queue_age_s={
            LABELS: _age_s(at, [one for one in backlogs if one.queue == LABELS]),
            EVALS: _age_s(at, [one for one in backlogs if one.queue == EVALS]),
            FITS: _overdue_s(ledger, settings, at),
        },
        capped=tuple(sorted({one.task for one in backlogs if one.capped})),
        frontiers={one.key: one.waiting.oldest or at - UNDER_WAY for one in backlogs},
        whole_look_at=at if whole else looked,
    )
    keep(ledger, ALL_TASKS, found)
    return found


def _backlogs(
    ledger: Ledger, settings: Settings, name: str, frontiers: Mapping[str, datetime]
) -> Iterator[_Backlog]:
    task = settings.tasks[name]
    checks = [f"{check.labeller} {check.version}" for check in labellers(task)]
    key = "\n".join((name, f"check {task.check}", *checks))
    since = frontiers.get(key) or newest_since(ledger, name, LOOKED_AT)
    waiting = waiting_for_checks(ledger, name, task, since=since, most=MOST)
    yield _Backlog(name, LABELS, key, waiting, waiting.answers >= MOST)
    for sought in _judges(settings, name, task):
        key = f"{name}\n{sought.labeller}\n{sought.version}"
        since = frontiers.get(key) or newest_since(ledger, name, LOOKED_AT_BY_JUDGE)
        items = list(islice(unjudged(ledger, sought, since), MOST_JUDGED))
        waiting = Waiting(sum(len(item.subjects) for item in items), items[0].at if items else None)
        yield _Backlog(name, EVALS, key, waiting, len(items) >= MOST_JUDGED)


def _judges(settings: Settings, name: str, task: TaskSettings) -> Iterator[Sought]:
    for judge, declared in task.judges.items():
        version = version_of(declared, settings.models[declared.model])
        yield Sought(name, declared, labeller_name(Kind.JUDGE, judge), version)


def _sum(backlogs: list[_Backlog], task: str) -> int:
    return sum(one.waiting.answers for one in backlogs if one.task == task)


def _age_s(at: datetime, backlogs: list[_Backlog]) -> float | None:
    oldest = min((one.waiting.oldest for one in backlogs if one.waiting.oldest is not None), default=None)
    return None if oldest is None else (at - oldest).total_seconds()


def _overdue_s(ledger: Ledger, settings: Settings, at: datetime) -> float | None:
    """By how much the oldest of the documents that the fits queue makes is late; None where none is."""
    kept = [Summaries(ledger).newest(task, "totals") for task in settings.tasks]
    ages_s = [(at - one.at).total_seconds() - settings.worker.report_every_s for one in kept if one]
    late_s = max(ages_s, default=0.0)
    return late_s if late_s > 0 else None
