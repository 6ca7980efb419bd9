"""The whole loop, in real processes: a client, the proxy, the worker, the ledger, and back to the proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from sqlalchemy import func, select

from evals.replay.recording import RecordedPair
from evals.replay.service import Service, free_port
from evals.replay.upstream import RecordedUpstream, model_name
from evals.report import build_report
from stepdown.ledger import schema
from stepdown.records import Mode, Reason, Role, Tier
from stepdown.settings import DEFAULT_TASK, Settings, load_settings
from tests.evals.replay.pairs import chat_messages, made_pairs

LEARNING, ROUTED = 300, 60
EPSILON = 0.05


@pytest.fixture
def pairs() -> list[RecordedPair]:
    return list(made_pairs(LEARNING + ROUTED))


def loop_settings(home: Path, upstream: str) -> Settings:
    models = {
        str(tier): {
            "model": model_name(tier),
            "url": upstream,
            "input_usd_per_million": price,
            "output_usd_per_million": price,
        }
        for tier, price in ((Tier.STRONG, 10.0), (Tier.SMALL, 1.0))
    }
    task = {
        "strong": "strong",
        "small": "small",
        "min_labels": LEARNING,
        "max_quality_loss": EPSILON,
        "exploration": 0.2,
        "check": "number",
        "checks": {"number": {"kind": "number"}},
    }
    values = {
        "home": str(home),
        "proxy": {"port": free_port(), "reload_s": 0.2},
        "dashboard": {"port": free_port()},
        "worker": {"label_every_s": 0.5, "fit_every_s": 0.5, "report_every_s": 1.0},
        "models": models,
        "tasks": {DEFAULT_TASK: task},
    }
    return load_settings("/dev/null", environ={}, overrides=values)


@pytest.fixture
def service(tmp_path: Path, pairs: list[RecordedPair]) -> Iterator[Service]:
    with (
        RecordedUpstream(pairs) as upstream,
        Service(loop_settings(tmp_path, upstream), DEFAULT_TASK) as running,
    ):
        yield running


def ask(client: openai.OpenAI, pair: RecordedPair, *, stream: bool) -> tuple[str, dict[str, str]]:
    """The answer's text and the headers, plain or streamed, as an application would get them."""
    metadata = {"stepdown.reference": str(pair.reference), "stepdown.slice": str(pair.slice)}
    create = client.chat.completions.with_raw_response.create
    if not stream:
        raw = create(model="stepdown", messages=chat_messages(pair), metadata=metadata)
        return raw.parse().choices[0].message.content or "", dict(raw.headers)
    streamed = create(model="stepdown", messages=chat_messages(pair), metadata=metadata, stream=True)
    parts = [c.choices[0].delta.content or "" for c in streamed.parse() if c.choices]
    return "".join(parts), dict(streamed.headers)


def test_traffic_is_learnt_from_and_then_routed(service: Service, pairs: list[RecordedPair]) -> None:
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)
    service.wait_for_mode(Mode.SHADOW)

    for i, pair in enumerate(pairs[:LEARNING]):
        text, headers = ask(client, pair, stream=i % 3 == 0)
        assert text == pair.answers[Tier.STRONG].text
        assert headers["x-stepdown-model"] == model_name(Tier.STRONG)
        assert headers["x-stepdown-reason"] == Reason.MODE_SHADOW
    service.wait_for_calls()
    assert service.wait_for_labels() == 2 * LEARNING

    service.wait_for_router()
    assert service.is_routing(), "the bound allows routing on this traffic"
    by_reason: dict[str, int] = {}
    regrets = 0
    for i, pair in enumerate(pairs[LEARNING:]):
        text, headers = ask(client, pair, stream=i % 3 == 0)
        tier = Tier.SMALL if headers["x-stepdown-model"] == model_name(Tier.SMALL) else Tier.STRONG
        assert text == pair.answers[tier].text
        regrets += tier == Tier.SMALL and pair.slice == "hard"
        by_reason[headers["x-stepdown-reason"]] = by_reason.get(headers["x-stepdown-reason"], 0) + 1
    assert regrets < 0.15 * ROUTED, "the bound allows 5 %, and so few requests vary around it"
    assert by_reason[Reason.ROUTED_SMALL] > 10
    assert by_reason[Reason.ROUTED_STRONG] > 10

    service.wait_for_calls()
    service.wait_for_labels()
    assert_the_ledger_adds_up(service, by_reason)
    assert_the_reports_say_it(service)


def assert_the_ledger_adds_up(service: Service, by_reason: dict[str, int]) -> None:
    rows = service.ledger.rows
    requests, calls, decisions, labels = schema.requests, schema.calls, schema.decisions, schema.labels
    assert rows(select(func.count()).select_from(requests))[0][0] == LEARNING + ROUTED
    assert rows(select(func.count()).select_from(decisions))[0][0] == LEARNING + ROUTED
    explored = rows(select(func.count()).select_from(decisions).where(decisions.c.explored))[0][0]
    assert explored == by_reason.get(Reason.EXPLORED, 0)
    by_role = dict(tuple(r) for r in rows(select(calls.c.role, func.count()).group_by(calls.c.role)))
    assert by_role == {Role.LIVE: LEARNING + ROUTED, Role.SHADOW: LEARNING + explored}
    assert rows(select(func.count()).select_from(calls).where(calls.c.completion_tokens.is_(None)))[0][0] == 0
    assert rows(select(func.count()).select_from(labels))[0][0] == sum(by_role.values())
    propensities = {r.propensity for r in rows(select(decisions.c.propensity).distinct())}
    assert propensities <= {1.0, 0.8, 0.2}


def assert_the_reports_say_it(service: Service) -> None:
    report = build_report(service.ledger, service.settings, DEFAULT_TASK)
    assert report.served is not None
    assert report.served.requests == LEARNING + ROUTED
    service._wait_until("a report", lambda: service.registry.newest("report", DEFAULT_TASK) is not None, 30)
    kept = service.registry.newest("report", DEFAULT_TASK)
    assert kept is not None
    assert kept.content.startswith(b"{")
