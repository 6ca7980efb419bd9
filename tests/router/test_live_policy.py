"""Policies reloaded while the proxy serves, and refused where they are corrupt."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from router.live_policy import LivePolicy
from router.metrics import Metrics
from router.model import RouterModel
from router.policy import TaskPolicy
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, TaskSettings
from tests.fakes import FakeModel
from tests.router.driver import Client, serving, settings_for
from tests.router.ledgers import decision_of, promote, router_that_prefers

MODELS = {"strong": ModelSettings(model="gpt"), "small": ModelSettings(model="mini", capabilities=("json",))}
TASKS = {"default": TaskSettings(small="small", exploration=0.2), "other": TaskSettings()}
ROUTER = router_that_prefers(small=True).to_bytes()


@pytest.fixture
def live(ledger: Ledger) -> LivePolicy:
    return LivePolicy(Registry(ledger), TASKS, MODELS, Metrics())


async def refreshed(live: LivePolicy) -> TaskPolicy:
    await live.refresh()
    return live.of("default")


def spoil(ledger: Ledger, statement: str) -> None:
    with ledger.writing() as connection:
        connection.exec_driver_sql(statement)


async def test_a_task_never_promoted_is_in_mode_strong(live: LivePolicy) -> None:
    assert live.missing
    policy = await refreshed(live)
    assert live.missing is None
    assert (policy.mode, policy.small, policy.refused) == (Mode.STRONG, True, False)
    assert policy.capabilities == {"json"}
    assert not live.of("other").small


async def test_a_promotion_is_loaded(live: LivePolicy, ledger: Ledger) -> None:
    artifact = promote(ledger, Mode.ROUTE, ROUTER)
    policy = await refreshed(live)
    assert (policy.mode, policy.policy, policy.exploration) == (Mode.ROUTE, artifact, 0.2)
    assert isinstance(policy.scorer, RouterModel)
    promote(ledger, Mode.SHADOW)
    assert (await refreshed(live)).mode is Mode.SHADOW


async def test_a_promotion_without_an_artifact_routes_nothing(live: LivePolicy, ledger: Ledger) -> None:
    promote(ledger, Mode.ROUTE)
    policy = await refreshed(live)
    assert policy.scorer is None
    assert not policy.refused


async def test_a_router_of_another_model_sends_a_student_nothing(live: LivePolicy, ledger: Ledger) -> None:
    registry, artifact = Registry(ledger), promote(ledger, Mode.ROUTE, ROUTER)
    assert not (await refreshed(live)).refused
    to = Deployed(Mode.ROUTE, artifact, "a student")
    assert registry.promote("default", to, actor="test", reason="", evidence={}, after=1)
    assert (await refreshed(live)).refused


SPOILT = [
    "UPDATE artifacts SET content = x'00'",
    "DELETE FROM artifacts",
    "UPDATE promotions SET mode = 'sideways'",
    "UPDATE promotions SET evidence = '{'",
    "UPDATE promotions SET at = 'noon'",
    "UPDATE artifacts SET parents = 'x'",
]


@pytest.mark.parametrize("spoiling", SPOILT)
async def test_what_is_corrupt_is_refused_once_and_heals(
    live: LivePolicy, ledger: Ledger, spoiling: str, caplog: pytest.LogCaptureFixture
) -> None:
    promote(ledger, Mode.ROUTE, ROUTER)
    promote(ledger, Mode.SHADOW, task="other")
    spoil(ledger, spoiling + " WHERE task = 'default'")
    for _ in range(2):
        policy = await refreshed(live)
        assert policy.refused
        assert policy.scorer is None
    assert live.of("other").mode is Mode.SHADOW
    assert live.missing is None
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "'default'" in errors[0]
    promote_after_spoiling(ledger)
    assert not (await refreshed(live)).refused


def promote_after_spoiling(ledger: Ledger) -> None:
    """A later promotion, written as an operator would who found the last one corrupt."""
    again = Promotion(
        task="default", sequence=2, at=now(), mode=Mode.SHADOW, artifact=None, actor="op", reason="corrupt"
    )
    ledger.append([again])


async def test_a_trouble_that_comes_back_is_said_again_though_another_task_is_in_trouble(
    live: LivePolicy, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    promote(ledger, Mode.ROUTE, b"no router", task="other")
    for _ in range(2):
        promote(ledger, Mode.ROUTE, b"no router")
        assert (await refreshed(live)).refused
        promote(ledger, Mode.SHADOW)
        assert not (await refreshed(live)).refused
        assert live.of("other").refused
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert ["'default'" in error for error in errors] == [True, False, True]


async def test_an_artifact_that_is_no_router_is_refused(live: LivePolicy, ledger: Ledger) -> None:
    promote(ledger, Mode.ROUTE, b"a router of another version")
    assert (await refreshed(live)).refused


async def test_a_ledger_that_cannot_be_read_leaves_the_policies_as_they_are(
    live: LivePolicy, ledger: Ledger
) -> None:
    promote(ledger, Mode.ROUTE, ROUTER)
    await live.refresh()
    spoil(ledger, "ALTER TABLE promotions RENAME TO gone")
    assert (await refreshed(live)).mode is Mode.ROUTE
    assert live.missing
    spoil(ledger, "ALTER TABLE gone RENAME TO promotions")
    await live.refresh()
    assert live.missing is None


async def until(client: Client, reason: str) -> Any:
    for _ in range(200):
        response = await client.chat()
        assert response.status == 200
        if response.reason == reason:
            return response
        await asyncio.sleep(0.01)
    raise AssertionError(f"no answer with reason {reason}")


async def test_the_proxy_reloads_while_it_serves(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    settings = settings_for(strong.settings("gpt"), small.settings("mini"))
    async with serving(settings, ledger, draw=lambda: 0.5) as client:
        await until(client, "mode_strong")
        artifact = promote(ledger, Mode.ROUTE, ROUTER)
        routed = await until(client, "gain_below_threshold")
        assert routed.headers["x-stepdown-policy"] == artifact
        assert decision_of(ledger, routed.id).policy == artifact
        promote(ledger, Mode.ROUTE, router_that_prefers(small=False).to_bytes())
        await until(client, "gain_above_threshold")
        promote(ledger, Mode.ROUTE, b"corrupt")
        refused = await until(client, "artifact_refused")
        assert refused.headers["x-stepdown-model"] == "gpt"
        promote(ledger, Mode.ROUTE, ROUTER)
        await until(client, "gain_below_threshold")
        assert b"stepdown_policy_reload_failures_total 1.0" in client.app._metrics.exposition()
