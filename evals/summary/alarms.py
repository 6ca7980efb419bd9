"""What a person should look at: promises that do not hold, and work that does not go on.

Invariant: each alarm is found in the ledger and ends when its cause ends; none is kept as a state. The test
of the bound is exact at one look; as it is looked at again and again, it errs to the side of alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pandas as pd

from evals.metrics.intervals import clopper_pearson
from evals.outcomes import certifiable
from evals.promotion import promise_of
from evals.summary.days import explored_since
from evals.summary.documents import Alarm, Operations
from evals.summary.kept import newest
from evals.summary.scene import Scene
from evals.verdicts import GOOD_FROM
from stepdown.errors import ArtifactError
from stepdown.heartbeat import worker_beat
from stepdown.ledger import Ledger
from stepdown.prices import price_of
from stepdown.processes import WORKERS, WORKERS_OF_STUDENTS, worker_pulse
from stepdown.registry import Registry
from stepdown.replicas import Replicas, State
from stepdown.settings import Settings
from stepdown.summaries import ALL_TASKS

LONG_UNLABELLED = timedelta(minutes=15)
OLD_ROUTER = timedelta(days=30)


def alarms(scene: Scene) -> Iterator[Alarm]:
    """The alarms of a task, its workers' and its servers' among them.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    yield from _bound(scene)
    yield from _router(scene)
    yield from silent_workers(scene.ledger, scene.settings, scene.at)
    yield from _servers(scene)
    yield from _backlog(scene)
    yield from _prices(scene)


def silent_workers(ledger: Ledger, settings: Settings, at: datetime) -> Iterator[Alarm]:
    """Workers whose last beat is too old. A page asks too: where all are silent, nobody keeps documents.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    named: Mapping[str, tuple[str, ...]] = WORKERS | (WORKERS_OF_STUDENTS if settings.distils else {})
    for queue, *_ in named.values():
        last, limit_s = ledger.last_beat(worker_beat(queue)), worker_pulse(settings, queue).limit_s
        if last is None:
            yield Alarm("error", "worker", f"the worker of queue {queue!r} has never been seen")
        elif (age_s := (at - last).total_seconds()) > limit_s:
            text = (
                f"the worker of queue {queue!r} was last seen {age_s:,.0f} s ago; {limit_s:g} s are the limit"
            )
            yield Alarm("error", "worker", text)


def _bound(scene: Scene) -> Iterator[Alarm]:
    explored = explored_since(scene.outcomes, scene.router_since)
    if explored is None:
        return
    promise = promise_of(scene.declared)
    pairs = explored.labelled_pairs
    pairs = pairs[certifiable(pairs, promise.certify_on) & pairs["gain"].notna()]
    regrets, prompts = _regretted(pairs)
    low = clopper_pearson(regrets, prompts, 1 - 2 * promise.delta).low if prompts else 0.0
    if low > promise.epsilon:
        yield Alarm(
            "error",
            "bound",
            f"the bound is broken: {regrets:,} of {prompts:,} audited prompts are regrets, at "
            f"least {low:.2%} with {1 - promise.delta:.4g} confidence at one look, where "
            f"{promise.epsilon:.2%} are allowed",
        )


def _regretted(pairs: pd.DataFrame) -> tuple[int, int]:
    """Prompts that are a regret whenever they were asked, of how many; so that a lower bound is safe."""
    regret = (
        (pairs["gain"] <= pairs["threshold"])
        & (pairs["strong_good"] >= GOOD_FROM)
        & (pairs["small_good"] < GOOD_FROM)
    )
    by_prompt = regret.groupby(pairs["prompt_hash"]).all()
    return int(by_prompt.sum()), len(by_prompt)


def _router(scene: Scene) -> Iterator[Alarm]:
    name = scene.deployed.artifact
    if name is None:
        return
    try:
        router = Registry(scene.ledger).artifact(name)
    except ArtifactError as error:
        yield Alarm("error", "router", f"the router in force is not used, strong answers: {error}")
        return
    promise, settings = promise_of(scene.declared), router.settings
    if (settings["epsilon"], settings["delta"]) != (promise.epsilon, promise.delta):
        yield Alarm(
            "warning",
            "router",
            f"the router in force was certified for {settings['epsilon']:.2%} regrets with "
            f"{1 - settings['delta']:.4g} confidence; asked for is {promise.epsilon:.2%} with "
            f"{1 - promise.delta:.4g}",
        )
    if settings.get("student") != scene.deployed.student:
        text = "the router in force was fitted on the answers of another small model than is in service"
        yield Alarm("error", "router", text)
    if (age := scene.at - router.at) > OLD_ROUTER:
        yield Alarm("warning", "router", f"the router in force is {age.days:,} days old")


def _servers(scene: Scene) -> Iterator[Alarm]:
    for seen in Replicas(scene.ledger).all():
        if seen.alias != scene.declared.small:
            continue
        if seen.state is State.ASLEEP:
            yield Alarm(
                "warning", "server", f"small model {seen.alias!r} at {seen.url} sleeps; strong answers"
            )
        elif seen.state is State.AWAY:
            yield Alarm(
                "error", "server", f"small model {seen.alias!r} at {seen.url} does not answer: {seen.note}"
            )
        for student, refusal in seen.refused.items():
            yield Alarm(
                "error", "server", f"{seen.url} refused student {student!r}: {refusal.get('why', '')}"
            )


def _backlog(scene: Scene) -> Iterator[Alarm]:
    kept = newest(scene.ledger, ALL_TASKS, Operations)
    if kept is None:
        return
    age_s = kept.document.oldest_unlabelled_s.get(scene.task)
    if age_s is not None and age_s > LONG_UNLABELLED.total_seconds():
        waiting = kept.document.label_backlog[scene.task]
        more = " or more" if scene.task in kept.document.capped else ""
        text = f"{waiting:,}{more} answers wait for a label, the oldest for {age_s / 60:,.0f} minutes"
        yield Alarm("warning", "labels", text)


def _prices(scene: Scene) -> Iterator[Alarm]:
    for alias in filter(None, (scene.declared.strong, scene.declared.small)):
        model = scene.settings.models.get(alias)
        if model is not None and price_of(model) is None:
            yield Alarm(
                "warning",
                "price",
                f"model {alias!r} has no known price, so its calls are on no bill: set input_usd_per_million "
                "and output_usd_per_million",
            )
