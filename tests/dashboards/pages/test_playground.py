"""The playground: real upstreams are asked, each column for itself, and what was paid for is on the bill."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dashboards.events import EventStream
from dashboards.playing import asking
from dashboards.playing.asking import Event, Player
from dashboards.playing.columns import offer_of
from dashboards.playing.question import Filled, question_of
from evals.harness.load import Reading, load_suite
from evals.report.offline import offline_costs
from router.model import RouterModel
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, TaskSettings
from stepdown.students import served_name
from tests.dashboards.asking import asked
from tests.dashboards.conftest import Dashboard, Open
from tests.fakes import EVENTS, FakeModel, Reply, closed_port, error, event, events, plain, running, streamed
from tests.router.test_model import some_weights

PROMPT = "What is it?"
PRICED = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
CHECKS = {"exact": {"kind": "exact"}}


@pytest.fixture
def strong() -> FakeModel:
    """The strong model, which streams."""
    return FakeModel(behaviour=lambda _: streamed("From strong <b>"))


@pytest.fixture
def small() -> FakeModel:
    """The small model, which streams."""
    return FakeModel(behaviour=lambda _: streamed("From small"))


@pytest.fixture
def play(strong: FakeModel, small: FakeModel, open_dashboard: Open) -> Iterator[Callable[..., Dashboard]]:
    """Opens a dashboard over both."""
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


def test_a_model_is_told_as_it_answers(play: Callable[..., Dashboard], strong: FakeModel) -> None:
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


def test_each_time_is_paid_for_and_nothing_is_taken_from_what_was_kept(
    play: Callable[..., Dashboard], strong: FakeModel
) -> None:
    dashboard = play()
    for _ in range(3):
        told(dashboard, "model:strong")
    assert len(strong.asked) == 3
    assert offline_costs(dashboard.ledger, "default").evaluations == 3 * 37


def test_the_policy_asks_the_model_that_it_chooses(
    play: Callable[..., Dashboard], strong: FakeModel, small: FakeModel
) -> None:
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


def test_exploration_is_off_and_a_trial_does_not_count(
    play: Callable[..., Dashboard], strong: FakeModel
) -> None:
    dashboard = play(task={"exploration": 1.0})
    promote(dashboard.ledger, 2.0, candidate="c" * 64, candidate_share=0.9)
    for _ in range(3):
        found = told(dashboard, "policy")
        assert "small answers" in texts(found, "said")
        assert "small (little)" in texts(found, "asked")
    assert strong.asked == []


def test_where_small_fails_at_once_the_policy_goes_to_strong(
    play: Callable[..., Dashboard], small: FakeModel
) -> None:
    small.behaviour = lambda _: error(503, "busy")
    dashboard = play()
    promote(dashboard.ledger, 2.0)
    found = told(dashboard, "policy")
    assert texts(found, "text") == "From strong <b> "
    assert "busy" in texts(found, "said")
    assert texts(found, "error") == ""
    assert texts(found, "asked") == "small (little)strong (big)"


def test_a_newest_router_that_is_not_in_force_is_said_to_be_so(play: Callable[..., Dashboard]) -> None:
    dashboard = play()
    Registry(dashboard.ledger).keep(
        "router", "default", RouterModel(some_weights(), 0.1).to_bytes(), settings={}, summary={}
    )
    assert "newest router, not in force," in texts(told(dashboard, "model:small"), "score")
    html = dashboard.post("/playground/advice", user=PROMPT).text
    assert "is not in force" in html
    assert "<svg" in html
    assert "<html" not in html


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
def test_one_that_fails_says_why_and_harms_no_other(
    play: Callable[..., Dashboard], small: FakeModel, name: str
) -> None:
    small.behaviour, why = BROKEN[name]
    dashboard = play()
    assert why in texts(told(dashboard, "model:small"), "error")
    answer = dashboard.post("/playground", user=PROMPT, **{"ask:model:strong": "on", "ask:model:small": "on"})
    assert answer.status_code == 200
    assert "From strong &lt;b&gt; " in answer.text
    assert 'role="alert"' in answer.text


def test_what_was_produced_before_it_broke_is_on_the_bill(
    play: Callable[..., Dashboard], small: FakeModel
) -> None:
    small.behaviour = BROKEN["breaks"][0]
    dashboard = play()
    found = told(dashboard, "model:small")
    assert texts(found, "text") == "Half"
    assert facts(found)["Tokens out"].startswith("about ")
    assert [(purpose, ended) for purpose, _, _, ended in billed(dashboard.ledger)] == [("playground", None)]


@pytest.mark.parametrize("limit", ["MOST_BYTES", "LONGEST_S"])
def test_a_model_that_finds_no_end_is_stopped_and_paid_for(
    play: Callable[..., Dashboard], strong: FakeModel, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(asking, limit, 0)
    endless = [event({"content": "On "})] * 50
    strong.behaviour = lambda _: Reply(content_type=EVENTS, parts=endless, pause_s=0.05)
    dashboard = play()
    events = told(dashboard, "model:strong")
    assert "model 'strong' found no end and was stopped" in texts(events, "error")
    assert facts(events)["Ended by"] == "nothing: it is not whole"
    assert [purpose for purpose, *_ in billed(dashboard.ledger)] == ["playground"]


def test_a_model_that_is_away_or_without_its_key_says_so(play: Callable[..., Dashboard]) -> None:
    away = ModelSettings(model="away", url=f"http://127.0.0.1:{closed_port()}/v1")
    locked = ModelSettings(model="locked", url="http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY")
    dashboard = play(models={"away": away, "locked": locked})
    assert "cannot be reached" in texts(told(dashboard, "model:away"), "error")
    found = texts(told(dashboard, "model:locked"), "error")
    assert "'NO_SUCH_KEY' is not set" in found
    assert billed(dashboard.ledger) == []


def test_a_key_goes_to_its_model_alone(
    play: Callable[..., Dashboard], strong: FakeModel, small: FakeModel
) -> None:
    keyed = strong.settings("big", api_key_env="THE_KEY")
    dashboard = play(models={"strong": keyed}, environ={"THE_KEY": "sk-secret"})
    strong.behaviour = lambda asked: error(400, f"bad key {asked.headers['authorization']}")
    found = told(dashboard, "model:strong")
    told(dashboard, "model:small")
    assert strong.asked[-1].headers["authorization"] == "Bearer sk-secret"
    assert "authorization" not in small.asked[-1].headers
    assert "sk-secret" not in json.dumps([msgspec.to_builtins(event) for event in found])


def test_a_whole_answer_and_its_tools_are_told_too(play: Callable[..., Dashboard], small: FakeModel) -> None:
    small.behaviour = lambda _: plain("Whole.")
    assert texts(told(play(), "model:small"), "text") == "Whole."
    call = {"index": 0, "function": {"name": "find", "arguments": '{"q": 1}'}}
    called = [event({"tool_calls": [call]}), *events("")]
    small.behaviour = lambda _: Reply(content_type=EVENTS, parts=called)
    assert texts(told(play(), "model:small"), "text") == '\ncalls find({"q": 1})'


def test_students_are_on_offer(play: Callable[..., Dashboard], small: FakeModel) -> None:
    dashboard = play()
    student = "5" * 64
    deployed = Deployed(mode=Mode.SHADOW, student=student, candidate="6" * 64)
    assert Registry(dashboard.ledger).promote(
        "default", deployed, actor="a", reason="r", evidence={}, after=0
    )
    html = dashboard.html("/playground")
    assert f'name="ask:student:{served_name(student)}" value="on" checked' in html
    assert "on trial" in html
    found = told(dashboard, f"student:{served_name(student)}")
    assert small.asked[-1].json["model"] == served_name(student)
    assert texts(found, "text") == "From small "


def test_who_is_not_on_offer_is_refused(play: Callable[..., Dashboard]) -> None:
    dashboard = play()
    assert "not on offer" in texts(told(dashboard, "model:other"), "error")
    answer = dashboard.post("/playground", user=PROMPT, **{"ask:model:other": "on"})
    assert answer.status_code == 400
    assert "not on offer" in answer.text
    assert "nobody is chosen" in dashboard.post("/playground", user=PROMPT).text


def test_nothing_is_asked_without_a_token(play: Callable[..., Dashboard], strong: FakeModel) -> None:
    dashboard = play()
    for path in ("/playground", "/playground/stream", "/playground/save", "/playground/advice"):
        sent = {"token": "wrong", "user": PROMPT, "column": "model:strong", "ask:model:strong": "on"}
        assert dashboard.post(path, **sent).status_code == 403
        from_elsewhere = {**sent, "token": dashboard.token()}
        assert dashboard.post(path, {"sec-fetch-site": "cross-site"}, **from_elsewhere).status_code == 403
    assert strong.asked == []
    fields = {"token": "", "column": "model:strong", "user": PROMPT}
    by_header = dashboard.post("/playground/stream", {"x-token": dashboard.token()}, **fields)
    assert by_header.status_code == 200
    assert len(strong.asked) == 1


def test_without_scripts_the_answers_come_whole_with_the_form_as_it_was(
    play: Callable[..., Dashboard],
) -> None:
    dashboard = play()
    form = {"user": "<i>What</i>?", "reference": "it", "ask:policy": "on", "ask:model:small": "on"}
    html = dashboard.post("/playground", **form).text
    assert "From strong &lt;b&gt;" in html
    assert "From small" in html
    assert "&lt;i&gt;What&lt;/i&gt;?</textarea>" in html
    assert 'name="ask:model:small" value="on" checked' in html
    assert 'name="ask:model:strong" value="on" checked' not in html
    assert "What the policy would do" in html
    assert len(billed(dashboard.ledger)) == 2


def test_a_form_that_asks_nothing_says_so_and_keeps_what_was_written(play: Callable[..., Dashboard]) -> None:
    answer = play().post("/playground", system="kept", **{"ask:policy": "on"})
    assert answer.status_code == 400
    assert "there is nothing to ask" in answer.text
    assert "kept</textarea>" in answer.text


def test_a_request_is_replayed(play: Callable[..., Dashboard]) -> None:
    dashboard = play()
    long = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 500_000}]}).encode()
    for records in (asked(1, prompt="Again <b>?"), asked(2, body=long), asked(3, body=b"none")):
        dashboard.ledger.append(records)
    assert "Again &lt;b&gt;?</textarea>" in dashboard.html("/playground", **{"from": "request-000001"})
    assert "too many to replay" in dashboard.html("/playground", **{"from": "request-000002"})
    assert "cannot be replayed" in dashboard.html("/playground", **{"from": "request-000003"})
    assert "no request &#39;gone&#39;" in dashboard.html("/playground", **{"from": "gone"})
    assert "/playground?task=default&amp;from=request-000001" in dashboard.html("/requests/request-000001")


def test_a_prompt_is_saved_as_a_case_once(play: Callable[..., Dashboard], tmp_path: Path) -> None:
    dashboard = play()
    form = {"user": "Say hi.\r\nNow.", "reference": " hi ", "check": "exact"}
    answer = dashboard.post("/playground/save", **form)
    assert answer.status_code == 200
    file = tmp_path / "home" / "suites" / "default-playground.toml"
    assert "Saved as case" in answer.text
    assert 'name="to" value="/playground"' in answer.text  # not the form's address, which nobody can go to
    assert str(file) in answer.text
    assert "Say hi.\nNow.</textarea>" in answer.text
    suite = load_suite(file, Reading(tasks=dashboard.settings.tasks))
    assert [(case.prompt, case.reference, case.check) for case in suite.cases] == [
        ("Say hi.\nNow.", "hi", "exact")
    ]
    again = dashboard.post("/playground/save", **form)
    assert again.status_code == 409
    assert "already" in again.text
    refused = dashboard.post("/playground/save", user="Another.", check="")
    assert refused.status_code == 409
    assert "nothing scores it" in refused.text
    json_reference = {"user": "As JSON.", "reference": '{"a": [1]}', "check": "exact"}
    assert dashboard.post("/playground/save", **json_reference).status_code == 200
    assert load_suite(file, Reading(tasks=dashboard.settings.tasks)).cases[1].reference == {"a": [1]}


async def test_who_stops_listening_stops_the_model_and_pays_for_what_came(
    play: Callable[..., Dashboard], strong: FakeModel
) -> None:
    strong.behaviour = lambda _: Reply(content_type=EVENTS, parts=events("word " * 500), pause_s=0.01)
    dashboard = play()
    offer = offer_of(dashboard.ledger, dashboard.settings, "default")
    player = Player(dashboard.ledger, offer, {}, "default")

    async def encoded() -> Any:
        told = player.play("model:strong", question_of(Filled(user=PROMPT)))
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


def test_a_task_without_a_small_model_has_no_policy_column(play: Callable[..., Dashboard]) -> None:
    dashboard = play(task={"small": None})
    html = dashboard.html("/playground")
    assert "ask:policy" not in html
    assert 'name="ask:model:strong" value="on" checked' in html
