"""Columns of the playground: real upstreams are asked, each for itself, and what was paid is on the bill."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dashboards.events import EventStream
from dashboards.playing import asking
from dashboards.playing.advice import advise
from dashboards.playing.asking import Player
from dashboards.playing.columns import offer_of
from dashboards.playing.question import Filled, question_of
from evals.report.offline import offline_costs
from stepdown.settings import ModelSettings
from tests.dashboards.playground import PROMPT, Play, billed, facts, promote, texts, told
from tests.fakes import EVENTS, FakeModel, Reply, closed_port, error, event, events, plain


def test_a_model_is_told_as_it_answers(play: Play, strong: FakeModel) -> None:
    dashboard = play()
    found = told(dashboard, "model:strong", system="Be brief.", temperature="0.5", max_tokens="50")
    assert list(dict.fromkeys(event.kind for event in found)) == ["score", "asked", "text", "done"]
    assert texts(found, "text") == "From strong <b> "
    sent = strong.asked[-1].json
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PROMPT},
    ]
    assert (sent["model"], sent["stream"], sent["temperature"], sent["max_tokens"]) == ("big", True, 0.5, 50)
    assert facts(found)["Cost"] == "$0.000037"
    assert facts(found)["Tokens out"] == "3"
    assert facts(found)["Ended by"] == "stop"
    assert re.fullmatch(r"[\d,]+ ms", facts(found)["First token"])
    assert billed(dashboard.ledger) == [("playground", "big", 37, "stop")]
    assert offline_costs(dashboard.ledger, "default").evaluations == 37


def test_each_time_is_paid_for_and_nothing_is_taken_from_what_was_kept(play: Play, strong: FakeModel) -> None:
    dashboard = play()
    for _ in range(3):
        told(dashboard, "model:strong")
    assert len(strong.asked) == 3
    assert offline_costs(dashboard.ledger, "default").evaluations == 3 * 37


def test_the_policy_asks_the_model_that_it_chooses(play: Play, strong: FakeModel, small: FakeModel) -> None:
    dashboard = play()
    found = told(dashboard, "policy")
    assert "mode strong" in texts(found, "said")
    assert "no router yet" in texts(found, "score")
    assert (len(strong.asked), len(small.asked)) == (1, 0)
    router = promote(dashboard.ledger, 2.0)  # no gain is larger
    found = told(dashboard, "policy")
    assert "small answers" in texts(found, "said")
    assert re.search(rf"router {router[:12]} gives small a \d+\.\d% chance", texts(found, "score"))
    assert texts(found, "text") == "From small "
    assert (len(strong.asked), len(small.asked)) == (1, 1)
    assert "gives strong a" in texts(told(dashboard, "model:strong"), "score")


def test_exploration_is_off_and_a_trial_does_not_count(play: Play, strong: FakeModel) -> None:
    dashboard = play(task={"exploration": 1.0})
    promote(dashboard.ledger, 2.0, candidate="c" * 64, candidate_share=0.9)
    for _ in range(3):
        found = told(dashboard, "policy")
        assert "small answers" in texts(found, "said")
        assert "small (little)" in texts(found, "asked")
    assert strong.asked == []


def test_where_small_fails_at_once_the_policy_goes_to_strong(play: Play, small: FakeModel) -> None:
    small.behaviour = lambda _: error(503, "busy")
    dashboard = play()
    promote(dashboard.ledger, 2.0)
    found = told(dashboard, "policy")
    assert texts(found, "text") == "From strong <b> "
    assert "busy" in texts(found, "said")
    assert texts(found, "error") == ""
    assert texts(found, "asked") == "small (little)strong (big)"


BROKEN: dict[str, tuple[Callable[[Any], Reply], str]] = {
    "refuses": (lambda _: error(500, "on fire"), "answered 500: on fire"),
    "no_json": (lambda _: Reply(parts=(b"<html>",)), "something else than JSON"),
    "breaks": (
        lambda _: Reply(content_type=EVENTS, parts=[event({"content": "Half"})], breaks=True),
        "closed the conn",
    ),
    "no_end": (lambda _: Reply(content_type=EVENTS, parts=[event({"content": "Half"})]), "broke off"),
    "says_error": (
        lambda _: Reply(content_type=EVENTS, parts=[b'data: {"error": {"message": "cut"}}\n\n']),
        "cut",
    ),
    "key": (lambda _: error(401, "no key"), "api_key_env"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_fails_says_why_and_harms_no_other(play: Play, small: FakeModel, name: str) -> None:
    small.behaviour, why = BROKEN[name]
    dashboard = play()
    assert why in texts(told(dashboard, "model:small"), "error")
    answer = dashboard.post("/playground", user=PROMPT, **{"ask:model:strong": "on", "ask:model:small": "on"})
    assert answer.status_code == 200
    assert "From strong &lt;b&gt; " in answer.text
    assert 'role="alert"' in answer.text


def test_what_was_produced_before_it_broke_is_on_the_bill(play: Play, small: FakeModel) -> None:
    small.behaviour = BROKEN["breaks"][0]
    dashboard = play()
    found = told(dashboard, "model:small")
    assert texts(found, "text") == "Half"
    assert facts(found)["Tokens out"].startswith("about ")
    assert [(purpose, ended) for purpose, _, _, ended in billed(dashboard.ledger)] == [("playground", None)]


@pytest.mark.parametrize("limit", ["MOST_BYTES", "LONGEST_S"])
def test_a_model_that_finds_no_end_is_stopped_and_paid_for(
    play: Play, strong: FakeModel, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(asking, limit, 0)
    endless = [event({"content": "On "})] * 50
    strong.behaviour = lambda _: Reply(content_type=EVENTS, parts=endless, pause_s=0.05)
    dashboard = play()
    events = told(dashboard, "model:strong")
    assert "model 'strong' found no end and was stopped" in texts(events, "error")
    assert facts(events)["Ended by"] == "nothing: it is not whole"
    assert [purpose for purpose, *_ in billed(dashboard.ledger)] == ["playground"]


def test_a_model_that_is_away_or_without_its_key_says_so(play: Play) -> None:
    away = ModelSettings(model="away", url=f"http://127.0.0.1:{closed_port()}/v1")
    locked = ModelSettings(model="locked", url="http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY")
    dashboard = play(models={"away": away, "locked": locked})
    assert "cannot be reached" in texts(told(dashboard, "model:away"), "error")
    found = texts(told(dashboard, "model:locked"), "error")
    assert "'NO_SUCH_KEY' is not set" in found
    assert billed(dashboard.ledger) == []


def test_a_key_goes_to_its_model_alone(play: Play, strong: FakeModel, small: FakeModel) -> None:
    keyed = strong.settings("big", api_key_env="THE_KEY")
    dashboard = play(models={"strong": keyed}, environ={"THE_KEY": "sk-secret"})
    strong.behaviour = lambda asked: error(400, f"bad key {asked.headers['authorization']}")
    found = told(dashboard, "model:strong")
    told(dashboard, "model:small")
    assert strong.asked[-1].headers["authorization"] == "Bearer sk-secret"
    assert "authorization" not in small.asked[-1].headers
    assert "sk-secret" not in json.dumps([msgspec.to_builtins(event) for event in found])


def test_a_whole_answer_and_its_tools_are_told_too(play: Play, small: FakeModel) -> None:
    small.behaviour = lambda _: plain("Whole.")
    assert texts(told(play(), "model:small"), "text") == "Whole."
    call = {"index": 0, "function": {"name": "find", "arguments": '{"q": 1}'}}
    called = [event({"tool_calls": [call]}), *events("")]
    small.behaviour = lambda _: Reply(content_type=EVENTS, parts=called)
    assert texts(told(play(), "model:small"), "text") == '\ncalls find({"q": 1})'


async def test_who_stops_listening_stops_the_model_and_pays_for_what_came(
    play: Play, strong: FakeModel
) -> None:
    strong.behaviour = lambda _: Reply(content_type=EVENTS, parts=events("word " * 500), pause_s=0.01)
    dashboard = play()
    offer = offer_of(dashboard.ledger, dashboard.settings, "default")
    player, question = Player(dashboard.ledger, offer, {}, "default"), question_of(Filled(user=PROMPT))
    advice = await asyncio.to_thread(advise, dashboard.ledger, offer.settings, "default", question.prompt)

    async def encoded() -> Any:
        told = player.play("model:strong", question, advice)
        try:
            async for one in told:
                yield msgspec.json.encode(one)
        finally:
            await told.aclose()

    sent: list[bytes] = []
    heard = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"word" in sent[-1]:
            heard.set()

    async def receive() -> Any:
        await heard.wait()
        return {"type": "http.disconnect"}

    await EventStream(encoded())({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert sum(b"word" in part for part in sent) < 400
    purpose, _, cost, ended = billed(dashboard.ledger)[0]
    assert (purpose, ended) == ("playground", None)
    assert cost is not None
    assert cost > 0
    until = time.monotonic() + 10
    while not strong.closed_early and time.monotonic() < until:  # noqa: ASYNC110 - the fake has its own thread
        await asyncio.sleep(0.02)
    assert strong.closed_early == 1
