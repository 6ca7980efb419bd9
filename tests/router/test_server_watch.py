"""Pools learn which servers rest, and the metrics how each was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from router.metrics import Metrics
from router.server_watch import OLD, ServerWatch, resting
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import ModelSettings
from tests.fakes import FakeModel, running
from tests.router.driver import serving, settings_for
from tests.router.ledgers import promote, router_that_prefers


def seen(url: str, state: State, **more: Any) -> Replica:
    return Replica(**{"url": url, "alias": "small", "at": now(), "state": state, **more})


def test_who_sleeps_rests_and_who_was_away_a_moment_ago() -> None:
    replicas = [
        seen("http://serves", State.SERVING),
        seen("http://sleeps", State.ASLEEP, at=now() - timedelta(days=1)),
        seen("http://away", State.AWAY),
        seen("http://was-away", State.AWAY, at=now() - OLD),
    ]
    assert resting(replicas, now()) == {"http://sleeps", "http://away"}


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (ModelSettings(model="a", url="http://a/v1"), False),
        (ModelSettings(model="a", url="http://a/v1", replicas=("http://b/v1",)), True),
        (ModelSettings(model="a", url="http://a/v1", sleeps=True), True),
        (ModelSettings(model="a", url="http://a/v1", serving="adapters"), True),
    ],
)
def test_nothing_is_watched_where_there_is_nothing_to_see(
    ledger: Ledger, model: ModelSettings, needed: bool
) -> None:
    assert ServerWatch(Replicas(ledger), {"small": model}, {}, Metrics()).is_needed is needed


@pytest.fixture
def servers() -> Iterator[list[FakeModel]]:
    fakes = [FakeModel(), FakeModel()]
    with running(*fakes):
        yield fakes


async def test_a_server_that_is_about_to_be_stopped_gets_no_request_and_the_metrics_say_so(
    ledger: Ledger, strong: FakeModel, servers: list[FakeModel]
) -> None:
    small = servers[0].settings("mini", replicas=(servers[1].url,))
    settings = settings_for(strong.settings("gpt"), small, exploration=0.0)
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    note = "is about to serve another"
    Replicas(ledger).note(seen(servers[0].url, State.AWAY, refused={"x": {}}, note=note))
    Replicas(ledger).note(seen(servers[1].url, State.SERVING, adapters={"y": "/y"}))
    async with serving(settings, ledger) as client:
        await asyncio.sleep(0.3)
        for _ in range(4):
            assert (await client.chat()).status == 200
        metrics = (await client.send("GET", "/metrics")).body.decode()
    assert not servers[0].asked
    assert len(servers[1].asked) == 4
    assert f'stepdown_server_serves{{model="small",url="{servers[0].url}"}} 0.0' in metrics
    assert f'stepdown_server_refused{{model="small",url="{servers[0].url}"}} 1.0' in metrics
    assert f'stepdown_server_wrong{{model="small",url="{servers[0].url}"}} 1.0' in metrics
    assert f'stepdown_server_students{{model="small",url="{servers[1].url}"}} 1.0' in metrics
