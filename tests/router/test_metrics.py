"""What is counted is what the ledger has."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from stepdown.ledger import Ledger, schema
from stepdown.records import Mode
from tests.fakes import FakeModel, error
from tests.processes import PATIENCE_S
from tests.router.driver import PRICES, Client, serving, settings_for
from tests.router.ledgers import promote

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(client: Client) -> Samples:
    text = (await client.send("GET", "/metrics")).body.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def samples_with(client: Client, name: str, count: float, **labels: str) -> Samples:
    """The samples, once one of them has come to a value: shadow calls are counted when they are kept."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await samples(client)).get((name, frozenset(labels.items()))) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_costs_and_tokens_are_those_of_the_ledger(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    settings = settings_for(strong.settings("gpt", **PRICES), small.settings("mini"))
    live = {"task": "default", "model": "gpt", "role": "live"}
    unseen = {"task": "default", "model": "mini", "role": "shadow"}
    promote(ledger, Mode.SHADOW)
    async with serving(settings, ledger) as client:
        for stream in (False, True, False):
            assert (await client.chat(stream=stream)).status == 200
        found = await samples_with(client, "stepdown_unpriced_calls_total", 3, **unseen)
    table = schema.calls
    columns = (table.c.cost_usd_micros, table.c.prompt_tokens, table.c.completion_tokens)
    (kept,) = ledger.rows(select(*map(func.sum, columns)).where(table.c.role == "live"))
    assert tuple(kept) == (1110, 21, 9)
    assert value(found, "stepdown_cost_usd_micros_total", **live) == 1110
    assert value(found, "stepdown_tokens_total", **live, kind="prompt") == 21
    assert value(found, "stepdown_tokens_total", **live, kind="completion") == 9
    assert value(found, "stepdown_unpriced_calls_total", **live) == 0
    assert value(found, "stepdown_cost_usd_micros_total", **unseen) == 0
    assert value(found, "stepdown_tokens_total", **unseen, kind="prompt") == 21


async def test_every_stage_of_a_request_is_timed_once(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        for _ in range(3):
            await client.chat()
        found = await samples(client)
    seconds = {
        stage: value(found, "stepdown_stage_seconds_sum", stage=stage)
        for stage in ("decide", "first_byte", "upstream", "commit", "total")
    }
    for stage in seconds:
        assert value(found, "stepdown_stage_seconds_count", stage=stage) == 3
    assert seconds["total"] >= max(seconds["decide"], seconds["upstream"], seconds["commit"])
    assert seconds["upstream"] >= seconds["first_byte"] > 0
    assert value(found, "stepdown_commit_wait_seconds_count") == 3
    assert value(found, "stepdown_ledger_commit_seconds_count") == 3
    assert value(found, "stepdown_ledger_commit_seconds_sum") <= seconds["commit"]


async def test_decisions_are_counted_with_the_reason_that_the_client_is_told(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    async with serving(settings_for(strong.settings("gpt"), small.settings("mini")), ledger) as client:
        reasons = [(await client.chat(model=model)).reason for model in ("stepdown", "strong", "small")]
        await client.chat(model="nobody")
        found = await samples(client)
    decisions: dict[str, Any] = {
        dict(labels)["reason"]: count
        for (name, labels), count in found.items()
        if name == "stepdown_decisions_total"
    }
    assert reasons == ["mode_strong", "model_named", "model_named"]
    assert decisions == {"mode_strong": 1, "model_named": 2}
    assert value(found, "stepdown_refused_total", status="404", code="model_not_found") == 1


async def test_a_call_that_failed_without_usage_costs_nothing_known(
    ledger: Ledger, strong: FakeModel
) -> None:
    strong.behaviour = lambda asked: error(500)
    async with serving(settings_for(strong.settings("gpt", **PRICES)), ledger) as client:
        await client.chat()
        found = await samples(client)
    (call,) = ledger.rows(select(schema.calls))
    live = {"task": "default", "model": "gpt", "role": "live"}
    unpriced = value(found, "stepdown_unpriced_calls_total", **live)
    assert unpriced == (1 if call.cost_usd_micros is None else 0)
    assert value(found, "stepdown_cost_usd_micros_total", **live) == (call.cost_usd_micros or 0)
