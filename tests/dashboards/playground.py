"""A playground over two fake models that stream, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from dashboards.playing.asking import Event
from router.model import RouterModel
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import TaskSettings
from tests.dashboards.conftest import Dashboard, Open
from tests.fakes import FakeModel, running
from tests.router.test_model import some_weights

PROMPT = "What is it?"
PRICED = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
CHECKS = {"exact": {"kind": "exact"}}

Play = Callable[..., Dashboard]


@contextmanager
def playground(strong: FakeModel, small: FakeModel, open_dashboard: Open) -> Iterator[Play]:
    """Opens dashboards over two running models."""
    with running(strong, small):

        def opened(*, task: dict[str, Any] | None = None, **more: Any) -> Dashboard:
            models = {"strong": strong.settings("big", **PRICED), "small": small.settings("little", **PRICED)}
            tasks = {"default": TaskSettings(**{"small": "small", "checks": CHECKS, **(task or {})})}
            environ = more.pop("environ", None)
            return open_dashboard(
                environ=environ, models={**models, **more.pop("models", {})}, tasks=tasks, **more
            )

        yield opened


def told(dashboard: Dashboard, column: str, **fields: str) -> list[Event]:
    """The events of one column."""
    answer = dashboard.post("/playground/stream", column=column, **{"user": PROMPT, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [msgspec.json.decode(line, type=Event) for line in lines]


def texts(events: list[Event], kind: str) -> str:
    """What events of a kind say."""
    return "".join(event.text for event in events if event.kind == kind)


def facts(events: list[Event]) -> dict[str, str]:
    """The facts of a column."""
    return {name: value for event in events for name, value in event.facts}


def billed(ledger: Ledger) -> list[tuple[str, str, int | None, str | None]]:
    """The answers that are on the bill."""
    table = schema.cached_answers.c
    query = schema.cached_answers.select().order_by(table.at)
    return [(row.purpose, row.model, row.cost_usd_micros, row.finish_reason) for row in ledger.rows(query)]


def promote(ledger: Ledger, threshold: float, **in_force: Any) -> str:
    """Put a router in force, in mode route."""
    model = RouterModel(some_weights(), threshold)
    kept = Registry(ledger).keep("router", "default", model.to_bytes(), settings={}, summary={})
    deployed = Deployed(mode=Mode.ROUTE, artifact=kept.id)._replace(**in_force)
    assert Registry(ledger).promote("default", deployed, actor="a", reason="r", evidence={}, after=0)
    return kept.id
