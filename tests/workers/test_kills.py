"""Real workers on both brokers, killed and robbed: no work is lost, and none is counted twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stepdown.heartbeat import worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Label, Verdict
from stepdown.settings import Settings, TaskSettings
from tests.processes import (
    Process,
    RedisServer,
    is_running,
    members,
    redis_server,
    settings_in,
    wait_until,
    worker_command,
)
from tests.traffic import answered
from workers import names
from workers.factory import create_celery

# Backtracks for about a hundredth of a second on an answer: a check slow enough to be killed in.
SLOW = TaskSettings(check="slow", checks={"slow": {"kind": "regex", "pattern": "^(a|a)+$"}})
SLOW_ANSWER = "a" * 17 + "b"
CALLS = 150


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["folder", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a service on one of the two brokers."""
    if request.param == "folder":
        return settings_in(tmp_path, batch=10, task=SLOW)
    server: RedisServer = request.getfixturevalue("redis")
    server.client.flushall()
    return settings_in(tmp_path, broker=server.url, batch=10, task=SLOW)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    opened = Ledger(settings.database_url)
    yield opened
    opened.close()


def write_calls(ledger: Ledger, count: int) -> set[str]:
    return {answered(ledger, "sums", f"{n}?", SLOW_ANSWER).call for n in range(count)}


def labels(ledger: Ledger) -> list[str]:
    return [row.subject for row in ledger.rows(select(schema.labels.c.subject))]


def labelled(ledger: Ledger) -> int:
    return int(ledger.rows(select(func.count()).select_from(schema.labels))[0][0])


def worker(settings: Settings, *options: str) -> Process:
    argv = worker_command(settings, *(options or ("--queue", "labels", "--beat")))
    return Process(argv, Path(settings.home) / "worker.log")


def test_a_worker_killed_in_a_task_loses_nothing_and_counts_nothing_twice(
    settings: Settings, ledger: Ledger
) -> None:
    calls = write_calls(ledger, CALLS)
    with worker(settings) as first:
        wait_until("it is in the middle", lambda: labelled(ledger) > 0)
        children = set(members(first.pid)) - {first.pid}
        os.kill(first.pid, signal.SIGKILL)
        first.popen.wait()
        wait_until("its children are gone too", lambda: not any(map(is_running, children)))
    assert children
    assert 0 < labelled(ledger) < CALLS
    with worker(settings):
        wait_until("all is labelled", lambda: labelled(ledger) >= CALLS)
    assert sorted(labels(ledger)) == sorted(calls)


def test_a_task_whose_process_is_killed_is_done_again_from_the_same_message(
    settings: Settings, ledger: Ledger
) -> None:
    calls = write_calls(ledger, CALLS)
    with worker(settings, "--queue", "labels") as running:
        create_celery(settings).send_task(names.SWEEP)  # the only hint there is
        wait_until("it is in the middle", lambda: labelled(ledger) > 0)
        (child,) = set(members(running.pid)) - {running.pid}
        os.kill(child, signal.SIGKILL)
        wait_until("all is labelled", lambda: labelled(ledger) >= CALLS)
    assert sorted(labels(ledger)) == sorted(calls)


def test_the_broker_may_lose_everything_while_the_worker_runs(
    settings: Settings, ledger: Ledger, request: pytest.FixtureRequest
) -> None:
    with worker(settings):
        calls = write_calls(ledger, 3)
        wait_until("the first calls are labelled", lambda: labelled(ledger) == 3)
        lose_messages(settings, request)
        lost = now()
        calls |= write_calls(ledger, 3)
        wait_until("the next calls are labelled", lambda: labelled(ledger) == 6)
        wait_until("it beats again", lambda: (ledger.last_beat(worker_beat("labels")) or lost) > lost)
    assert sorted(labels(ledger)) == sorted(calls)


def lose_messages(settings: Settings, request: pytest.FixtureRequest) -> None:
    if settings.worker.broker is None:
        shutil.rmtree(settings.broker_folder)
        return
    server: RedisServer = request.getfixturevalue("redis")
    server.client.flushall()


def test_redis_may_be_away_when_a_task_ends(redis: RedisServer, tmp_path: Path) -> None:
    """The acknowledgement fails, and the worker must not wait for it for ever."""
    settings = settings_in(tmp_path, broker=redis.url, batch=10, task=SLOW)
    ledger = Ledger(settings.database_url)
    calls = write_calls(ledger, 50)
    with worker(settings):
        wait_until("it is in the middle", lambda: labelled(ledger) > 0)
        redis.stop()
        wait_until("the task ends", lambda: labelled(ledger) == 50)
        time.sleep(0.5)  # the acknowledgement is tried now
        redis.start()
        calls |= write_calls(ledger, 3)
        wait_until("the next calls are labelled", lambda: labelled(ledger) == 53)
    assert sorted(labels(ledger)) == sorted(calls)
    ledger.close()


def test_a_label_of_the_same_version_is_made_once(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    for verdict in (Verdict.GOOD, Verdict.BAD):
        ledger.append(
            [Label(subject="c", labeller="l", version="1", at=now(), verdict=verdict, score=1, evidence="")]
        )
    assert [row.verdict for row in ledger.rows(select(schema.labels))] == ["good"]
    ledger.close()
