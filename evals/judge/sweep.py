"""Judges what is unjudged: the one function that workers and the command line call.

Invariant: what is to be done is read from the ledger, so a sweep that is killed is taken up by the next one,
and a sweep with nothing to do asks nobody. One judge's trouble is noted and never another's: each judge has
its share of the time, however long one before it hung.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import NamedTuple

from msgspec.structs import replace

from evals.judge.backlog import Item, first_unjudged, sought_by, unjudged
from evals.judge.batch import MOST_LINES, Batches, Question
from evals.judge.counts import JudgeCounts, Progress
from evals.judge.endpoint import Endpoint
from evals.judge.history import History, question_id, read_histories
from evals.judge.judges import Judge, judges_of
from evals.judge.material import Loaded
from evals.judge.sitting import CLOCK, Sitting
from router.ask import open_asker
from router.upstream import UpstreamFactory
from router.upstream.factory import read_keys, upstream_for
from router.upstream.openai_shaped import open_session
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.settings import Settings

__all__ = ["JudgeCounts", "first_unjudged", "judge_all"]

PAGE = 100

Candidates = Iterator[tuple[Item, History]]


class Run(NamedTuple):
    """What a judge needs to be asked.

    Attributes:
        deadline: Time of `CLOCK` after which no question is put to it.
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

    The time is shared among the judges; what one does not need, those after it have. When a judge's time is
    up, no question is put to it any more, and those under way are waited for.

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
    names = settings.tasks if task is None else [task]
    judges = [one for name in names for one in judges_of(settings, name) if judge in (None, one.name)]
    end, total = CLOCK() + budget_s, JudgeCounts()
    for place, one in enumerate(judges):
        share_s = max(budget_s / len(judges), (end - CLOCK()) / (len(judges) - place))
        run = Run(ledger, settings, environ, CLOCK() + share_s, upstreams)
        if CLOCK() < run.deadline:
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
    items = candidates(run.ledger, judge)
    if judge.model.batch and judge.model.url is not None:
        items = await _through_batches(run, judge, sitting, items)
    first = next(items, None)
    if first is None:
        return
    models, at_once = [judge.settings.model], run.settings.worker.concurrency
    asking = open_asker(run.settings, run.environ, models, until=run.deadline, upstreams=run.upstreams)
    async with asking as asker:
        await sitting.ask(chain([first], items), asker, at_once=at_once, deadline=run.deadline)


async def _through_batches(run: Run, judge: Judge, sitting: Sitting, items: Candidates) -> Candidates:
    """Look at the open batches, send a new one where the backlog is large, and give what is left."""
    alias = judge.settings.model
    assert judge.model.url is not None
    key = read_keys(replace(run.settings, models={alias: judge.model}), run.environ)[alias]
    session = open_session(run.settings.proxy.connect_timeout_s)
    try:
        name = f"model {alias!r} ({judge.model.model})"
        endpoint = Endpoint(name=name, url=judge.model.url, key=key, session=session)
        batches = Batches(run.ledger, judge, endpoint, key=key, note=sitting.note)
        await batches.advance()
        busy = batches.under_way()
        free = (each for each in items if each[0].key(judge) not in busy)
        return free if batches.paused() else await _offer(judge, sitting, batches, free)
    finally:
        await session.close()


async def _offer(judge: Judge, sitting: Sitting, batches: Batches, items: Candidates) -> Candidates:
    """Send the backlog as a batch if it is large enough, or give it back."""
    enough = judge.settings.batch_from
    head = list(islice(items, enough))
    if len(head) < enough:
        return iter(head)
    to_ask: list[tuple[Item, History]] = []
    questions: list[Question] = []
    for item, history in chain(head, islice(items, MOST_LINES)):
        if loaded := sitting.prepare(item, history):
            to_ask.append((item, history))
            questions += questions_of(judge, item, history, loaded)
        if len(questions) >= MOST_LINES:
            break
    sent = await batches.submit(questions) if len(to_ask) >= enough else 0
    sitting.count_batched(sent)
    return iter(()) if sent else chain(to_ask, items)


def questions_of(judge: Judge, item: Item, history: History, loaded: Loaded) -> list[Question]:
    """The questions of an item that have not been answered."""
    key = item.key(judge)
    return [
        Question(question_id(key, part), item.request, judge.fields(loaded.material, part))
        for part in judge.parts
        if part.name not in history.opinions
    ]
