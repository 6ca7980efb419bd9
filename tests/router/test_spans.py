"""Traces of the real proxy, as a real collector is sent them: client, proxy, upstream, label."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evals.label_spans import LabelSpans
from evals.labelling import label_all
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import (
    CandidateSettings,
    PortfolioSettings,
    ProxySettings,
    Settings,
    TaskSettings,
    TracingSettings,
)
from tests.collector import Collector, collecting, is_sampled
from tests.fakes import EVENTS, FakeModel, Reply, closed_port, error, events, plain
from tests.proxies import proxy_process
from tests.router.driver import PRICES, serving
from tests.router.ledgers import promote, request_of

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CLIENT}-01", f"00-{TRACE}-{CLIENT}-00"
SERVER_SPAN = "POST /v1/chat/completions"
INTERNAL, SERVER, CLIENT_KIND = 1, 2, 3
SECRET = "the caller's own words"
NUMBER: dict[str, dict[str, Any]] = {"number": {"kind": "number"}}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def settings_with(home: Path, strong: FakeModel, small: FakeModel, **tracing: Any) -> Settings:
    task = TaskSettings(small="small", check="number", checks=NUMBER)
    return Settings(
        home=str(home),
        models={"strong": strong.settings("gpt", **PRICES), "small": small.settings("mini")},
        tasks={"default": task},
        proxy=ProxySettings(port=0, reload_s=0.05),
        tracing=TracingSettings(**tracing),
    )


def test_one_trace_shows_client_proxy_upstream_and_label(
    tmp_path: Path, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    strong.behaviour = lambda asked: plain("It is 4.")
    settings = settings_with(tmp_path, strong, small, endpoint=collector.url, service_name="prod")
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1"}
    with proxy_process(settings) as proxy:
        asked = [{"role": "user", "content": SECRET}]
        status, request = proxy.chat(headers, messages=asked, metadata={"stepdown.reference": "4"})
        assert status == 200
        assert proxy.stop() == 0
    with_ledger = Ledger(settings.database_url, migrated=False)
    spans = LabelSpans(settings.tracing)
    assert label_all(with_ledger, settings.tasks, batch=10, budget_s=60, kept=spans).good == 1
    spans.close()
    kept = request_of(with_ledger, request)
    with_ledger.close()

    server, call = collector.only(SERVER_SPAN), collector.only("chat gpt")
    decide, commit, label = (collector.only(name) for name in ("decide", "commit", "label"))
    assert {span.trace for span in collector.spans} == {TRACE}
    assert {span.service for span in collector.spans} == {"prod"}
    assert server.parent == CLIENT
    assert {span.parent for span in (decide, commit, call, label)} == {server.id}
    assert kept.trace == f"00-{TRACE}-{server.id}-01"
    assert label.links == (server.id,)
    assert (server.kind, call.kind, decide.kind, label.kind) == (SERVER, CLIENT_KIND, INTERNAL, INTERNAL)
    assert strong.asked[0].headers["traceparent"] == f"00-{TRACE}-{call.id}-01"
    assert strong.asked[0].headers["tracestate"] == "vendor=1"
    assert server.started_ns <= decide.started_ns <= decide.ended_ns <= call.ended_ns
    assert call.ended_ns <= commit.ended_ns <= server.ended_ns <= label.started_ns
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "stepdown.request.id": request,
        "stepdown.task": "default",
        "stepdown.model": "gpt",
        "stepdown.reason": "mode_strong",
    }
    assert decide.attributes["stepdown.chosen"] == "strong"
    assert label.attributes["gen_ai.evaluation.name"] == "check:number"
    assert label.attributes["gen_ai.evaluation.score.label"] == "good"
    assert label.attributes["gen_ai.evaluation.score.value"] == 1.0
    assert label.attributes["stepdown.call.id"] == call.attributes["stepdown.call.id"]
    assert SECRET.encode() not in collector.raw
    assert b"It is 4." not in collector.raw
    assert collector.paths == {"/v1/traces"}


async def test_a_call_says_what_the_conventions_for_generative_ai_ask(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    async with serving(settings_with(tmp_path, strong, small, endpoint=collector.url), ledger) as client:
        await client.chat(stream=True)
    call = collector.only("chat gpt").attributes
    first = call.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first < 60
    assert len(call.pop("stepdown.call.id")) > 10
    assert call == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.response.model": "fake",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": strong.port,
        "stepdown.role": "live",
        "stepdown.tier": "strong",
        "stepdown.cost_usd_micros": 370,
        "stepdown.usage_estimated": False,
    }


async def test_a_shadow_call_is_in_the_trace_too(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    promote(ledger, Mode.SHADOW)
    async with serving(settings_with(tmp_path, strong, small, endpoint=collector.url), ledger) as client:
        await client.chat()
    server, shadow = collector.only(SERVER_SPAN), collector.only("chat mini")
    assert (shadow.trace, shadow.parent) == (server.trace, server.id)
    assert shadow.attributes["stepdown.role"] == "shadow"
    assert small.asked[0].headers["traceparent"].startswith(f"00-{server.trace}-{shadow.id}-")


async def test_every_candidate_and_the_judge_are_in_the_trace(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    settings = settings_with(tmp_path, strong, small, endpoint=collector.url)
    candidates = (CandidateSettings(model="strong", samples=2), CandidateSettings(model="small"))
    portfolio = PortfolioSettings(candidates=candidates)
    tasks = {"default": TaskSettings(small="small", portfolio=portfolio)}
    async with serving(msgspec.structs.replace(settings, tasks=tasks), ledger) as client:
        await client.chat()
    server, calls = collector.only(SERVER_SPAN), [*collector.named("chat gpt"), *collector.named("chat mini")]
    assert [call.parent for call in calls] == [server.id] * 3
    assert sorted(call.attributes["stepdown.role"] for call in calls) == ["candidate", "candidate", "live"]
    sent = {asked.headers["traceparent"][36:52] for asked in strong.asked + small.asked}
    assert sent == {call.id for call in calls}


async def test_what_failed_says_so_and_not_in_the_callers_words(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    strong.behaviour = lambda asked: error(429, f"too often: {SECRET}")
    async with serving(settings_with(tmp_path, strong, small, endpoint=collector.url), ledger) as client:
        assert (await client.chat({"traceparent": SAMPLED})).status == 429
        assert (await client.chat(messages=SECRET)).status == 400
    call, (failed,) = collector.only("chat gpt"), collector.named(SERVER_SPAN, TRACE)
    (refused,) = [span for span in collector.named(SERVER_SPAN) if span.trace != TRACE]
    assert (call.failed, call.attributes["error.type"]) == (True, "429")
    assert call.attributes["http.response.status_code"] == 429
    assert (failed.failed, failed.attributes["http.response.status_code"]) == (False, 429)
    assert (refused.failed, refused.attributes["http.response.status_code"]) == (False, 400)
    assert SECRET.encode() not in collector.raw


async def test_a_model_that_cannot_be_reached_fails_the_request_in_the_trace(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    settings = settings_with(tmp_path, FakeModel(port=closed_port()), small, endpoint=collector.url)
    async with serving(settings, ledger) as client:
        assert (await client.chat()).status == 503
    assert collector.only("chat gpt").attributes["error.type"] == "UpstreamUnreachable"
    assert collector.only(SERVER_SPAN).attributes["error.type"] == "503"


async def test_a_stream_that_breaks_is_a_failed_call(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    strong.behaviour = lambda asked: Reply(content_type=EVENTS, parts=events()[:2], breaks=True)
    async with serving(settings_with(tmp_path, strong, small, endpoint=collector.url), ledger) as client:
        await client.chat(stream=True)
    call = collector.only("chat gpt")
    assert (call.failed, call.attributes["error.type"]) == (True, "UpstreamError")


async def test_the_caller_decides_whether_its_trace_is_kept(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel, collector: Collector
) -> None:
    settings = settings_with(tmp_path, strong, small, endpoint=collector.url, sample=0.0)
    async with serving(settings, ledger) as client:
        asked = [await client.chat(came) for came in ({}, {"traceparent": UNSAMPLED})]
        await client.chat({"traceparent": SAMPLED})
    assert [request_of(ledger, answer.id).trace for answer in asked] == [None, None]
    assert collector.only(SERVER_SPAN).trace == TRACE
    sent = [asked.headers["traceparent"] for asked in strong.asked]
    assert [is_sampled(traceparent) for traceparent in sent] == [False, False, True]
    assert sent[1][3:35] == TRACE


def test_a_collector_that_is_away_keeps_nobody_waiting(
    tmp_path: Path, strong: FakeModel, small: FakeModel
) -> None:
    settings = settings_with(tmp_path, strong, small, endpoint=f"http://127.0.0.1:{closed_port()}")
    with proxy_process(settings) as proxy:
        assert [proxy.chat()[0] for _ in range(20)] == [200] * 20
        assert proxy.stop() == 0


async def test_without_tracing_no_model_is_sent_a_trace_and_none_is_kept(
    tmp_path: Path, ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    async with serving(settings_with(tmp_path, strong, small), ledger) as client:
        answer = await client.chat({"traceparent": SAMPLED})
    assert "traceparent" not in strong.asked[0].headers
    assert request_of(ledger, answer.id).trace is None


PROBE = """
import asyncio, sys
from evals.label_spans import LabelSpans
from stepdown.ledger import Ledger
from stepdown.settings import Settings, load_settings
from tests.fakes import FakeModel, running
from tests.router.driver import serving, settings_for

async def ask(settings, ledger):
    async with serving(settings, ledger) as client:
        return (await client.chat()).status

with running(model := FakeModel()):
    ledger = Ledger("sqlite:///" + sys.argv[1])
    assert asyncio.run(ask(settings_for(model.settings("gpt")), ledger)) == 200
LabelSpans(Settings().tracing)([])
print(sorted(name for name in sys.modules if name.partition(".")[0] == "opentelemetry"))
"""


def test_without_tracing_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PROBE, str(tmp_path / "ledger.db")]
    run = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr
