"""Judges what is unjudged: the one function that workers and the command line call.

Invariant: what is to be done is read from the ledger, so a sweep that is killed is taken up by the next one,
and a sweep with nothing to do asks nobody. One judge's trouble is noted and never another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from evals.judge.backlog import Item, first_unjudged, sought_by, unjudged
from evals.judge.counts import JudgeCounts, Progress
from evals.judge.history import History, read_histories
from evals.judge.judges import Judge, judges_of
from evals.judge.lock import alone
from evals.judge.sitting import CLOCK, Sitting
from router.ask import open_asker
from router.upstream import UpstreamFactory
from router.upstream.factory import upstream_for
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.settings import Settings

__all__ = ["JudgeCounts", "first_unjudged", "judge_all"]

PAGE = 100

Candidates = Iterator[tuple[Item, History]]


class Run(NamedTuple):
    """What the judges of one sweep share.

    Attributes:
        deadline: Time of `CLOCK` after which no question is put.
    """

    ledger: Ledger
    settings: Settings
    environ: Mapping[str, str]
    deadline: float
    upstreams: UpstreamFactory


def judge_all(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    budget_s: float,
    task: str | None = None,
    judge: str | None = None,
    progress: Progress = lambda _: None,
    upstreams: UpstreamFactory = upstream_for,
) -> JudgeCounts:
    """Judge the backlog of every judge until there is none, or the time is up.

    When the time is up no question is put any more, and those under way are waited for.

    Args:
        ledger: Where calls are read, and calls and labels kept.
        settings: All settings; their tasks declare the judges.
        environ: Where the upstreams' keys are.
        budget_s: Seconds in which questions are put.
        task: The only task; None takes all.
        judge: The only judge of each task; None takes all.
        progress: Called with the counts so far whenever they change.
        upstreams: Opens the upstream of a model.

    Raises:
        LedgerError: The ledger refused; what was judged until then is kept.
    """
    run = Run(ledger, settings, environ, CLOCK() + budget_s, upstreams)
    total = JudgeCounts()
    for name in settings.tasks if task is None else [task]:
        for one in judges_of(settings, name):
            if (judge is None or one.name == judge) and CLOCK() < run.deadline:
                total = _judge(run, one, total, progress)
    return total


def candidates(ledger: Ledger, judge: Judge) -> Candidates:
    """What a judge has not judged, each with what came of it so far."""
    items = unjudged(ledger, sought_by(judge))
    while page := list(islice(items, PAGE)):
        keys = {item.key(judge): item.request for item in page}
        histories = read_histories(ledger, judge.settings.kind, keys)
        yield from ((item, histories[item.key(judge)]) for item in page)


def _judge(run: Run, judge: Judge, before: JudgeCounts, progress: Progress) -> JudgeCounts:
    sitting = Sitting(run.ledger, judge, lambda counts: progress(before + counts))
    with alone(run.ledger, f"judge {judge.task} {judge.name}") as held:
        if not held:
            sitting.note("is at work in another sweep")
            return before + sitting.counts
        try:
            asyncio.run(_sit(run, judge, sitting))
        except SettingsError as error:
            sitting.note(f"cannot be asked: {error}")
    return before + sitting.counts


async def _sit(run: Run, judge: Judge, sitting: Sitting) -> None:
    models = [judge.settings.model]
    async with open_asker(run.settings, run.environ, models, upstreams=run.upstreams) as asker:
        at_once = run.settings.worker.concurrency
        await sitting.ask(candidates(run.ledger, judge), asker, at_once=at_once, deadline=run.deadline)
