"""A strong tier of several answers: asked at once, one is picked, all are on record."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from router import portfolio
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import CandidateSettings, ModelSettings, PortfolioSettings, Settings, TaskSettings
from tests.fakes import DONE, EVENTS, Asked, FakeModel, Reply, closed_port, completion, error, events, plain
from tests.fakes import streamed as stream_of
from tests.router.driver import CHAT, HELLO, serving
from tests.router.ledgers import (
    calls_of,
    decision_of,
    only_request,
    promote,
    request_of,
    router_that_prefers,
)

PRICES = {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}
COST = 7 * 10 + 3 * 100


def variants(*texts: str, **portfolio: Any) -> PortfolioSettings:
    """A portfolio of prompts, told apart by their system texts."""
    return PortfolioSettings(
        candidates=tuple(CandidateSettings(model="strong", system=text) for text in texts), **portfolio
    )


def settings_with(strong: FakeModel, chosen: PortfolioSettings, **more: Any) -> Settings:
    models = {"strong": strong.settings("gpt", **PRICES), **more.pop("models", {})}
    return Settings(models=models, tasks={"default": TaskSettings(portfolio=chosen, **more)})


def system_of(asked: Asked) -> str:
    """What the fake was told first, which says what it is to answer."""
    first = asked.json["messages"][0]
    return str(first["content"]) if first["role"] == "system" else ""


def says(**by_system: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: by_system[system_of(asked)]


def echo(asked: Asked) -> Reply:
    """Answers with the system text."""
    return stream_of(system_of(asked)) if asked.json.get("stream") else plain(system_of(asked))


def roles(ledger: Ledger, request: str) -> list[tuple[str, str]]:
    return sorted((call.role, call.model) for call in calls_of(ledger, request))


async def test_all_are_asked_one_is_answered_and_all_are_on_record(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = echo
    async with serving(settings_with(strong, variants("41", "42", "42.")), ledger) as client:
        response = await client.chat()
        exposition = client.app._metrics.exposition().decode()
    assert response.body == completion("42")
    assert response.headers["x-stepdown-picked-by"] == "majority"
    assert response.headers["x-stepdown-candidates"] == "3"
    assert response.headers["x-stepdown-model"] == "gpt"
    assert response.reason == "mode_strong"
    assert decision_of(ledger, response.id).chosen == "strong"
    calls = calls_of(ledger, response.id)
    assert sorted(call.role for call in calls) == ["candidate", "candidate", "live"]
    assert {(call.tier, call.complete, call.cost_usd_micros) for call in calls} == {("strong", True, COST)}
    live = next(call for call in calls if call.role == "live")
    assert ledger.body(live.body) == response.body
    assert 'stepdown_candidates_total{model="gpt",outcome="passed_over",task="default"} 2.0' in exposition
    assert 'stepdown_candidates_total{model="gpt",outcome="picked",task="default"} 1.0' in exposition
    assert 'stepdown_picks_total{by="majority",task="default"} 1.0' in exposition


async def test_candidates_are_asked_at_the_same_time(ledger: Ledger, strong: FakeModel) -> None:
    strong.behaviour = lambda asked: replace(plain(), head_after_s=0.5)
    async with serving(settings_with(strong, variants("a", "b", "c")), ledger) as client:
        response = await client.chat()
    calls = calls_of(ledger, response.id)
    last_asked = max(call.at for call in calls)
    assert all(call.at + timedelta(milliseconds=call.latency_ms) > last_asked for call in calls)


async def test_each_way_of_asking_changes_only_what_it_says(ledger: Ledger, strong: FakeModel) -> None:
    ways = PortfolioSettings(
        candidates=(
            CandidateSettings(model="strong", system="Think.", samples=2),
            CandidateSettings(model="other", temperature=0.5),
        )
    )
    odd = b'"vendor_x": {"b": 1.0e+2, "a": [1,  2]}'
    own = b'{"role": "system", "content": "Be brief."}, {"role":"user","content":"hi",  "name":"x"}'
    body = b'{"model": "stepdown", "seed": 7, "messages": [' + own + b"], " + odd + b"}"
    models = {"other": strong.settings("other-model")}
    async with serving(settings_with(strong, ways, models=models), ledger) as client:
        await client.send("POST", CHAT, body)
    first, second, third = sorted(strong.asked, key=lambda a: (a.json["model"], a.json["seed"]))
    assert all(odd.partition(b": ")[2] in asked.body for asked in strong.asked)
    assert [m["content"] for m in first.json["messages"]] == ["Think.\n\nBe brief.", "hi"]
    assert b'{"role":"user","content":"hi",  "name":"x"}' in first.body
    assert (first.json["seed"], second.json["seed"], third.json["seed"]) == (7, 8, 7)
    assert (third.json["temperature"], third.json["model"]) == (0.5, "other-model")
    assert own in third.body
    assert "temperature" not in first.json


@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_leaves_whole_after_the_pick(
    ledger: Ledger, strong: FakeModel, wants_usage: bool
) -> None:
    strong.behaviour = echo
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wants_usage else {}
    settings = settings_with(strong, variants("41", "42 is it", "42 is it!"))
    async with serving(settings, ledger) as client:
        response = await client.chat(stream=True, **options)
    assert all(asked.json["stream"] for asked in strong.asked)
    sent = events("42 is it")
    assert response.body == b"".join(sent if wants_usage else [*sent[:-2], DONE])
    assert response.headers["content-type"] == EVENTS
    assert response.headers["x-stepdown-picked-by"] == "majority"
    calls = calls_of(ledger, response.id)
    assert [call.cost_usd_micros for call in calls] == [COST] * 3
    assert all(call.complete for call in calls)


async def test_nothing_leaves_before_the_record(
    ledger: Ledger, strong: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(records: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(ledger, "append", refuse)
    async with serving(settings_with(strong, variants("a", "b")), ledger) as client:
        for stream in (False, True):
            response = await client.chat(stream=stream)
            assert response.status == 503
            assert "ledger" in response.error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_where_some_fail_the_pick_is_among_the_rest(
    ledger: Ledger, strong: FakeModel, stream: bool
) -> None:
    def answer(asked: Asked) -> Reply:
        match system_of(asked):
            case "fails":
                return error(500, "boom")
            case "hangs":
                return replace(plain(), head_after_s=5)
            case "breaks":
                return Reply(content_type=EVENTS, parts=events()[:3], breaks=True)
            case "ends":
                return Reply(content_type=EVENTS, parts=events()[:3])
        return echo(asked)

    strong.behaviour = answer
    nobody = ModelSettings(model="away", url=f"http://127.0.0.1:{closed_port()}/v1")
    chosen = variants("fails", "hangs", "breaks", "ends", "good")
    chosen = replace_candidates(chosen, CandidateSettings(model="nobody"))
    models = {"nobody": nobody, "strong": strong.settings("gpt", timeout_s=0.2, **PRICES)}
    async with serving(settings_with(strong, chosen, models=models), ledger) as client:
        response = await client.chat(stream=stream)
    assert response.status == 200
    assert response.headers["x-stepdown-picked-by"] == "only"
    assert response.headers["x-stepdown-candidates"] == "6"
    calls = calls_of(ledger, response.id)
    assert [call.complete for call in calls if call.role == "live"] == [True]
    failed = [call for call in calls if call.role == "candidate"]
    assert len(failed) == 5
    assert all(call.error and not call.complete for call in failed)
    assert sorted({call.status for call in failed}) == [0, 200, 500]


def replace_candidates(chosen: PortfolioSettings, *more: CandidateSettings) -> PortfolioSettings:
    return PortfolioSettings(candidates=(*chosen.candidates, *more), picker=chosen.picker)


async def test_what_is_no_answer_is_picked_only_where_there_is_nothing_else(
    ledger: Ledger, strong: FakeModel
) -> None:
    no_answer = Reply(parts=(b'{"error": {"message": "overloaded"}}',))
    strong.behaviour = lambda asked: plain("42") if system_of(asked) == "good" else no_answer
    async with serving(settings_with(strong, variants("x", "y", "good")), ledger) as client:
        response = await client.chat()
        strong.behaviour = lambda asked: no_answer
        nothing = await client.chat()
    assert (response.body, response.headers["x-stepdown-picked-by"]) == (completion("42"), "only")
    assert (nothing.status, nothing.body) == (200, no_answer.parts[0]), "as a model alone would be relayed"


async def test_where_all_fail_the_answer_is_the_first_ones_error(ledger: Ledger, strong: FakeModel) -> None:
    slow_down = error(429, "slow down", headers=(("retry-after", "3"),))
    strong.behaviour = says(a=slow_down, b=error(500, "boom"))
    async with serving(settings_with(strong, variants("a", "b")), ledger) as client:
        for stream in (False, True):
            response = await client.chat(stream=stream)
            assert (response.status, response.error["message"]) == (429, "slow down")
            assert response.headers["retry-after"] == "3"
            assert response.headers["x-stepdown-candidates"] == "2"
            assert "x-stepdown-picked-by" not in response.headers
            assert roles(ledger, response.id) == [("candidate", "gpt"), ("live", "gpt")]
            live = next(call for call in calls_of(ledger, response.id) if call.role == "live")
            assert live.status == 429


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_too_long_to_be_held_is_a_failed_candidate(
    ledger: Ledger, strong: FakeModel, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(portfolio, "HELD_BYTES", 3000)
    strong.behaviour = lambda asked: echo(asked) if system_of(asked) == "b" else long_one(stream)
    async with serving(settings_with(strong, variants("a", "b")), ledger) as client:
        response = await client.chat(stream=stream)
    assert response.headers["x-stepdown-picked-by"] == "only"
    too_long = next(call for call in calls_of(ledger, response.id) if call.role == "candidate")
    assert "3,000 bytes" in too_long.error


def long_one(stream: bool) -> Reply:
    return stream_of("word " * 100) if stream else plain("word " * 1000)


class Telling(list[bytes]):
    """Pieces of an answer that tell when the third is to be sent."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self.begun = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        for number, piece in enumerate(super().__iter__()):
            if number == 2:
                self.begun.set()
            yield piece


async def test_a_client_that_hangs_up_leaves_a_record_of_all(ledger: Ledger, strong: FakeModel) -> None:
    pieces = Telling(events("word " * 200))
    strong.behaviour = says(
        done=stream_of("all of it"),
        slow=Reply(content_type=EVENTS, parts=pieces, pause_s=0.05),
        silent=replace(plain(), head_after_s=5),
    )
    gone = asyncio.Event()
    async with serving(settings_with(strong, variants("done", "slow", "silent")), ledger) as client:
        body = json.dumps({"model": "stepdown", "messages": HELLO, "stream": True}).encode()
        asking = asyncio.create_task(client.send("POST", CHAT, body, gone=gone))
        assert await asyncio.to_thread(pieces.begun.wait, 10)
        await asyncio.sleep(0.1)
        gone.set()
        response = await asking
        await asyncio.sleep(0.2)
    assert response.status == 0
    request = only_request(ledger)
    assert request.status == 499
    calls = calls_of(ledger, request.id)
    assert [call.role for call in calls] == ["candidate"] * 3
    (done,) = [call for call in calls if call.complete]
    (slow,) = [call for call in calls if call.usage_estimated]
    (silent,) = [call for call in calls if call.status == 0]
    assert (done.error, done.cost_usd_micros) == (None, COST)
    assert slow.cost_usd_micros > 0
    assert silent.cost_usd_micros is None
    assert all("hung up" in call.error for call in (slow, silent))
    assert strong.closed_early >= 1, "the model goes on producing for nobody"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"n": 2},
        {"logprobs": True},
    ],
)
async def test_what_cannot_be_picked_safely_goes_to_the_first_alone_as_it_comes(
    ledger: Ledger, strong: FakeModel, fields: dict[str, Any]
) -> None:
    strong.behaviour = lambda asked: stream_of("one two three four", pause_s=0.02)
    async with serving(settings_with(strong, variants("first", "second")), ledger) as client:
        response = await client.chat(stream=True, **fields)
        strong.behaviour = lambda asked: error(500, "boom")
        failed = await client.chat(**fields)
    assert [system_of(asked) for asked in strong.asked] == ["first", "first"]
    assert len(response.chunks) > 3
    assert response.headers["x-stepdown-picked-by"] == "only"
    assert response.headers["x-stepdown-candidates"] == "1"
    assert roles(ledger, response.id) == [("live", "gpt")]
    assert (failed.status, roles(ledger, failed.id)) == (500, [("live", "gpt")])


async def test_json_and_pictures_are_picked_from(ledger: Ledger, strong: FakeModel) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, picture]}]
    async with serving(settings_with(strong, variants("a", "b")), ledger) as client:
        response = await client.chat(messages=messages, response_format={"type": "json_object"})
    assert response.headers["x-stepdown-candidates"] == "2"


async def test_a_named_model_has_no_portfolio(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(settings_with(strong, variants("a", "b")), ledger) as client:
        for name in ("strong", "gpt"):
            response = await client.chat(model=name)
            assert "x-stepdown-candidates" not in response.headers
    assert [system_of(asked) for asked in strong.asked] == ["", ""]


async def test_where_small_fails_the_portfolio_answers(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    small.behaviour = lambda asked: error(500, "boom")
    strong.behaviour = echo
    models = {"small": small.settings("mini")}
    settings = settings_with(strong, variants("x", "y", "y"), models=models, small="small")
    async with serving(settings, ledger, draw=lambda: 0.5) as client:
        response = await client.chat()
    assert (response.reason, response.headers["x-stepdown-picked-by"]) == ("small_model_failed", "majority")
    assert roles(ledger, response.id) == [
        ("candidate", "gpt"),
        ("candidate", "gpt"),
        ("live", "gpt"),
        ("live", "mini"),
    ]


async def test_small_answers_alone_and_explored_requests_by_the_portfolio(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    models = {"small": small.settings("mini")}
    settings = settings_with(strong, variants("x", "y"), models=models, small="small", exploration=0.1)
    draws = iter([0.5, 0.05])
    async with serving(settings, ledger, draw=lambda: next(draws)) as client:
        routed, explored = await client.chat(), await client.chat()
    assert roles(ledger, routed.id) == [("live", "mini")]
    assert "x-stepdown-candidates" not in routed.headers
    assert explored.reason == "exploration"
    assert roles(ledger, explored.id) == [("candidate", "gpt"), ("live", "gpt"), ("shadow", "mini")]


async def test_the_callers_key_goes_to_the_strong_model_alone(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    chosen = PortfolioSettings(
        candidates=(CandidateSettings(model="strong"), CandidateSettings(model="other"))
    )
    settings = settings_with(strong, chosen, models={"other": small.settings("other")})
    async with serving(settings, ledger) as client:
        await client.chat({"Authorization": "Bearer sk-mine"})
    assert strong.asked[0].headers["authorization"] == "Bearer sk-mine"
    assert "authorization" not in small.asked[0].headers


async def test_tasks_without_a_portfolio_have_none(ledger: Ledger, strong: FakeModel) -> None:
    settings = Settings(
        models={"strong": strong.settings("gpt")},
        tasks={"default": TaskSettings(), "best": TaskSettings(portfolio=variants("a", "b"))},
    )
    async with serving(settings, ledger) as client:
        assert "x-stepdown-candidates" not in (await client.chat()).headers
        best = await client.chat(model="stepdown/best")
    assert best.headers["x-stepdown-candidates"] == "2"
    assert request_of(ledger, best.id).task == "best"
