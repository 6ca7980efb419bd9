"""How workers and servers are shown: ages that grow, what cannot be read, and students out of place."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from sqlalchemy import update

from router.metrics import Metrics
from router.operations import Drift
from router.operations_watch import OperationsWatch, drifts_of, expected_of
from stepdown.heartbeat import worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import ModelSettings, Settings, TaskSettings
from stepdown.students import served_name
from stepdown.summaries import Summaries

ON_BOTH_DATABASES = True

FIRST, SECOND, THIRD, FOURTH = (letter * 64 for letter in "abcd")
NAMES = {student: served_name(student) for student in (FIRST, SECOND, THIRD, FOURTH)}
URL = "http://a/v1"
TUNED = ModelSettings(model="base", url=URL, serving="adapters")
SETTINGS = Settings(models={"small": TUNED}, tasks={"sums": TaskSettings(small="small")})


def watch(ledger: Ledger, metrics: Metrics, settings: Settings = SETTINGS) -> OperationsWatch:
    return OperationsWatch(ledger, settings, metrics.operations)


def said(metrics: Metrics, name: str) -> dict[str, float]:
    """The samples of a metric by their labels."""
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", metrics.exposition().decode(), re.MULTILINE)
    return {labels: float(figure) for labels, figure in found}


async def test_what_the_workers_found_is_shown(ledger: Ledger) -> None:
    found = {
        "label_backlog": {"sums": 12},
        "oldest_unlabelled_s": {"sums": 90.5, "other": None},
        "queue_age_s": {"labels": 4},
        "something": "of a later version",
    }
    Summaries(ledger).keep("", "operations", json.dumps(found).encode())
    await watch(ledger, metrics := Metrics()).look()
    assert said(metrics, "stepdown_label_backlog") == {'{task="sums"}': 12}
    assert said(metrics, "stepdown_oldest_unlabelled_seconds") == {'{task="sums"}': 90.5, '{task="other"}': 0}
    assert said(metrics, "stepdown_queue_age_seconds") == {'{queue="labels"}': 4}
    assert 0 <= said(metrics, "stepdown_backlog_age_seconds")[""] < 60


async def test_where_the_workers_left_nothing_no_figure_is_made_up(ledger: Ledger) -> None:
    await watch(ledger, metrics := Metrics()).look()
    assert "# TYPE stepdown_label_backlog gauge" in metrics.exposition().decode()
    assert said(metrics, "stepdown_label_backlog") == {}
    assert said(metrics, "stepdown_backlog_age_seconds") == {}
    assert said(metrics, "stepdown_heartbeat_age_seconds") == {}


async def test_what_cannot_be_read_is_no_figure_either(ledger: Ledger) -> None:
    Summaries(ledger).keep("", "operations", b'{"label_backlog": 3}')
    ledger.beat(worker_beat("labels"))
    await watch(ledger, metrics := Metrics()).look()
    assert said(metrics, "stepdown_label_backlog") == {}
    assert len(said(metrics, "stepdown_heartbeat_age_seconds")) == 1


async def test_the_age_of_a_beat_grows_while_nothing_is_heard(ledger: Ledger) -> None:
    table = schema.heartbeats
    for name in (worker_beat("labels"), worker_beat("fits"), "no worker"):
        ledger.beat(name)
    with ledger.writing() as connection:
        old = now() - timedelta(seconds=300)
        connection.execute(update(table).where(table.c.name == worker_beat("fits")).values(at=old))
    await watch(ledger, metrics := Metrics()).look()
    first = said(metrics, "stepdown_heartbeat_age_seconds")
    assert set(first) == {'{queue="labels"}', '{queue="fits"}'}
    assert first['{queue="labels"}'] < 60 < 300 <= first['{queue="fits"}']
    assert said(metrics, "stepdown_heartbeat_age_seconds")['{queue="fits"}'] > first['{queue="fits"}']


async def test_a_ledger_that_cannot_be_read_leaves_the_last_look(ledger: Ledger) -> None:
    ledger.beat(worker_beat("labels"))
    looking = watch(ledger, metrics := Metrics())
    await looking.look()
    with ledger.writing() as connection:
        schema.heartbeats.drop(connection)
    await looking.look()
    assert len(said(metrics, "stepdown_heartbeat_age_seconds")) == 1


def replica(*students: str, url: str = URL, state: State = State.SERVING) -> Replica:
    return Replica(url, "small", now(), state, {NAMES[student]: "/x" for student in students})


async def test_drift_is_against_what_was_promoted_last(ledger: Ledger) -> None:
    registry, metrics = Registry(ledger), Metrics()
    looking = watch(ledger, metrics)

    async def drift() -> dict[str, float]:
        await looking.look()
        found = said(metrics, "stepdown_adapter_drift")
        return {kind: found[f'{{kind="{kind}",model="small",url="{URL}"}}'] for kind in ("missing", "extra")}

    Replicas(ledger).note(replica(FIRST))
    assert await drift() == {"missing": 0, "extra": 1}
    for number, student in enumerate((FIRST, SECOND)):
        deployed = Deployed(Mode.ROUTE, student=student)
        assert registry.promote("sums", deployed, actor="t", reason="t", evidence={}, after=number)
    assert await drift() == {"missing": 1, "extra": 0}, "the student before it may be put back"
    Replicas(ledger).note(replica(FIRST, SECOND))
    assert await drift() == {"missing": 0, "extra": 0}
    Replicas(ledger).note(replica(state=State.AWAY))
    await looking.look()
    assert said(metrics, "stepdown_adapter_drift") == {}, "who is away is told by another metric"


def promotion(number: int, student: str | None, candidate: str | None = None) -> Promotion:
    return Promotion(
        task="t",
        sequence=number,
        at=now(),
        mode=Mode.ROUTE,
        artifact=None,
        actor="t",
        reason="t",
        student=student,
        candidate=candidate,
    )


def test_what_is_in_force_or_on_trial_must_be_there_and_the_two_before_it_may() -> None:
    history = [promotion(n, student) for n, student in enumerate((FOURTH, THIRD, None, SECOND), start=1)]
    must, may = expected_of([[*history, promotion(9, FIRST, candidate=FOURTH)]])
    assert must == {NAMES[FIRST], NAMES[FOURTH]}
    assert may == set(NAMES.values())
    assert expected_of([[]]) == (frozenset(), frozenset())
    assert expected_of([history])[1] == {NAMES[SECOND], NAMES[THIRD], NAMES[FOURTH]}


def test_one_server_of_checkpoints_is_enough_for_a_student() -> None:
    servers = [replica(FIRST), replica(SECOND, url="http://b/v1")]
    must = frozenset({NAMES[FIRST], NAMES[SECOND], NAMES[THIRD]})
    assert drifts_of(servers, must, must, each=False) == [
        Drift("small", URL, missing=1, extra=0),
        Drift("small", "http://b/v1", missing=1, extra=0),
    ]
    assert [drift.missing for drift in drifts_of(servers, must, must, each=True)] == [2, 2]
