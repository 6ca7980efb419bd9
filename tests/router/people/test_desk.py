"""The labelling queue: who is let in, what they see, what their words become."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from stepdown.ids import now
from stepdown.ledger import Body, Ledger, schema
from stepdown.records import Role, Tier
from stepdown.settings import ProxySettings, Settings, TaskSettings
from tests.answered import MODELS, answered, call_with, calls_by_tier, forget_body, labels_in
from tests.fakes import FakeModel
from tests.records import a_label
from tests.router.driver import Client, Response, serving, settings_for
from tests.router.test_access import hashed

ON_BOTH_DATABASES = True
JSON = {"content-type": "application/json"}
MODEL = FakeModel().settings("gpt-sekrit")


def queue_up(ledger: Ledger, *requests: str, task: str = "default") -> None:
    """Put requests into the queue, in this order."""
    rows = []
    for place, request in enumerate(requests):
        calls = calls_by_tier(ledger, request)
        whole = {"strong_call": calls.get(Tier.STRONG), "small_call": calls.get(Tier.SMALL)}
        rows.append(
            {
                "request": request,
                "task": task,
                "at": now(),
                "why": "threshold",
                "priority": float(place),
                **whole,
            }
        )
    with ledger.writing() as connection:
        connection.execute(insert(schema.label_queue), rows)


def queued(ledger: Ledger) -> list[str]:
    table = schema.label_queue
    return [row.request for row in ledger.rows(select(table).order_by(table.c.priority))]


async def fetch(client: Client, query: str = "", key: str = "") -> Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return await client.send("GET", f"/v1/labels/queue?{query}", headers=headers)


async def items_of(client: Client, query: str = "", key: str = "") -> list[dict[str, Any]]:
    response = await fetch(client, query, key)
    assert response.status == 200, response.body
    found: list[dict[str, Any]] = response.json["data"]
    return found


async def label(client: Client, key: str = "", **fields: Any) -> Response:
    headers = {**JSON, **({"Authorization": f"Bearer {key}"} if key else {})}
    return await client.send("POST", "/v1/labels", json.dumps(fields).encode(), headers)


def said_of(ledger: Ledger, call: str) -> list[tuple[str, str, str, float | None]]:
    return [
        (row.labeller, row.version, row.verdict, row.score)
        for row in labels_in(ledger)
        if row.subject == call
    ]


def letter_of(item: dict[str, Any], text: str) -> str:
    """The letter under which an answer is shown."""
    (letter,) = [answer["label"] for answer in item["answers"] if answer["text"] == text]
    return str(letter)


async def test_a_pair_is_shown_and_its_verdict_becomes_two_labels(ledger: Ledger) -> None:
    request = answered(ledger, "What is 6*7?", "42", "about 40")
    queue_up(ledger, request)
    calls = calls_by_tier(ledger, request)
    async with serving(settings_for(MODEL), ledger) as client:
        page = (await fetch(client, "annotator=ada")).json
        (item,) = page.pop("data")
        assert page == {"object": "list", "task": "default", "annotator": "ada", "waiting": 1}
        assert item["messages"] == [{"role": "user", "content": "What is 6*7?"}]
        assert (item["task"], item["kind"], item["prompt"]) == ("default", "pair", "What is 6*7?")
        assert {answer["text"] for answer in item["answers"]} == {"42", "about 40"}
        assert [answer["label"] for answer in item["answers"]] == ["a", "b"]
        assert item["verdicts"] == ["a", "b", "tie", "bad", "skip"]
        verdict = letter_of(item, "42")
        answer = await label(
            client, id=item["id"], annotator="ada", verdict=verdict, comment="exact\x00", seconds=7.5
        )
        assert answer.json == {
            "object": "stepdown.label",
            "id": item["id"],
            "annotator": "ada",
            "verdict": verdict,
            "kept": True,
        }
    assert said_of(ledger, calls["strong"]) == [("person:ada", "1", "good", 1.0)]
    assert said_of(ledger, calls["small"]) == [("person:ada", "1", "bad", 0.0)]
    by_call = {row.subject: row.evidence for row in labels_in(ledger)}
    assert by_call[calls["strong"]] == f"better than {calls['small']}: exact\ufffd (in 7.5 s)"
    assert by_call[calls["small"]].startswith(f"worse than {calls['strong']}: exact")
    assert queued(ledger) == [], "one person was asked for, and has spoken"


@pytest.mark.parametrize(
    ("verdict", "meaning", "words"),
    [
        ("tie", ("good", 0.5), "as good as "),
        ("bad", ("bad", 0.0), "bad, and so is "),
        ("skip", ("unscored", None), "skipped"),
    ],
)
async def test_what_else_can_be_said_of_a_pair(
    ledger: Ledger, verdict: str, meaning: tuple[str, float | None], words: str
) -> None:
    request = answered(ledger, small="small says")
    queue_up(ledger, request)
    async with serving(settings_for(MODEL), ledger) as client:
        (item,) = await items_of(client)
        assert (await label(client, id=item["id"], verdict=verdict)).status == 200
        assert await items_of(client) == [], "what was labelled or skipped is not shown again"
        others = await items_of(client, "annotator=bob")
    assert len(others) == (1 if verdict == "skip" else 0)
    for call in calls_by_tier(ledger, request).values():
        assert said_of(ledger, call) == [("person:anonymous", "1", *meaning)]
    assert all(row.evidence.startswith(words) for row in labels_in(ledger))


@pytest.mark.parametrize(
    ("verdict", "meaning"), [("good", ("good", 1.0)), ("bad", ("bad", 0.0)), ("skip", ("unscored", None))]
)
async def test_a_single_answer_is_good_or_bad(
    ledger: Ledger, verdict: str, meaning: tuple[str, float | None]
) -> None:
    request = answered(ledger)
    queue_up(ledger, request)
    async with serving(settings_for(MODEL), ledger) as client:
        (item,) = await items_of(client)
        assert (item["kind"], item["verdicts"]) == ("single", ["good", "bad", "skip"])
        wrong = await label(client, id=item["id"], verdict="a")
        assert (wrong.status, wrong.error["param"]) == (400, "verdict")
        assert "'a' is not for a single item; take one of good, bad, skip" in wrong.error["message"]
        assert (await label(client, id=item["id"], verdict=verdict)).json["kept"]
    assert said_of(ledger, calls_by_tier(ledger, request)["strong"]) == [("person:anonymous", "1", *meaning)]


async def test_a_verdict_twice_changes_nothing_and_a_changed_mind_is_newer(ledger: Ledger) -> None:
    request = answered(ledger, small="small says")
    queue_up(ledger, request)
    settings = settings_for(MODEL, annotators=5)
    async with serving(settings, ledger) as client:
        (item,) = await items_of(client)
        sent = [("a", None), ("a", 3.0), ("b", None), ("b", 1e-7), ("a", None)]
        kept = [
            (await label(client, id=item["id"], verdict=verdict, seconds=seconds)).json["kept"]
            for verdict, seconds in sent
        ]
        assert kept == [True, False, True, False, True]
        assert (await label(client, id=item["id"], verdict="a", comment="why")).json["kept"]
    strong = [row for row in labels_in(ledger) if row.subject == calls_by_tier(ledger, request)["strong"]]
    assert [row.version for row in strong] == ["1", "2", "3", "4"]
    assert [row.score for row in strong][:3] in ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    assert len({row.at for row in strong}) == 4
    assert queued(ledger) == [request], "four more people are asked for"


async def test_contradicting_people_bring_one_more(ledger: Ledger) -> None:
    request = answered(ledger, "p", "strong says", "small says")
    queue_up(ledger, request)
    async with serving(settings_for(MODEL, annotators=2), ledger) as client:
        for person, text in (("ada", "strong says"), ("bob", "small says"), ("cy", "small says")):
            (item,) = await items_of(client, f"annotator={person}")
            await label(client, id=item["id"], annotator=person, verdict=letter_of(item, text))
            assert queued(ledger) == ([] if person == "cy" else [request])


async def test_nobody_can_tell_whose_answer_is_whose(ledger: Ledger) -> None:
    count = 120
    requests = [answered(ledger, f"prompt {n}", "strong says", "small says") for n in range(count)]
    queue_up(ledger, *requests)
    seen: dict[str, list[str]] = {}
    async with serving(settings_for(MODEL), ledger) as client:
        for person in ("ada", "bob"):
            first, again = [await fetch(client, f"limit=100&annotator={person}") for _ in range(2)]
            assert first.body == again.body, "the same person sees the same, in the same order"
            headers = repr(first.headers).encode()
            calls = [call for request in requests for call in calls_by_tier(ledger, request).values()]
            for secret in (*MODELS.values(), "strong_call", "small", "shadow", "threshold", *calls):
                assert secret.encode() not in (first.body + headers).replace(b"small says", b"")
            seen[person] = [letter_of(item, "strong says") for item in first.json["data"]]
    for letters in seen.values():
        assert 30 <= letters.count("a") <= 70, "strong is a about half of the time"
    agreeing = sum(x == y for x, y in zip(*seen.values(), strict=True))
    assert 25 <= agreeing <= 75, "people do not see the same order"


async def test_items_come_by_priority_from_one_task_up_to_the_limit(ledger: Ledger) -> None:
    requests = [answered(ledger, f"prompt {n}") for n in range(4)]
    queue_up(ledger, *requests[::-1])
    queue_up(ledger, answered(ledger, "sum", task="sums"), task="sums")
    settings = settings_for(MODEL, tasks={"sums": TaskSettings()})
    async with serving(settings, ledger) as client:
        page = (await fetch(client, "limit=3")).json
        assert [item["prompt"] for item in page["data"]] == ["prompt 3", "prompt 2", "prompt 1"]
        assert page["waiting"] == 4
        (sums,) = await items_of(client, "task=sums")
        assert sums["prompt"] == "sum"
        unknown = await fetch(client, "task=nope")
        assert (unknown.status, unknown.error["code"]) == (404, "task_not_found")
        assert "known: default, sums" in unknown.error["message"]
        wrong = await label(client, id=sums["id"], task="default", verdict="good")
        assert (wrong.status, wrong.error["code"]) == (409, "wrong_task")
        assert (await label(client, id=sums["id"], task="sums", verdict="good")).status == 200


async def test_the_reference_is_shown_only_to_who_asks(ledger: Ledger) -> None:
    queue_up(ledger, answered(ledger, "p", reference='{"is": 42}'), answered(ledger, "q"))
    async with serving(settings_for(MODEL), ledger) as client:
        assert "reference" not in (await items_of(client))[0]
        with_it, without = await items_of(client, "reference=1")
    assert with_it["reference"] == {"is": 42}
    assert "reference" not in without


async def test_tool_calls_refusals_and_the_offered_tools_are_shown(ledger: Ledger) -> None:
    tool = {"index": 0, "id": "call_secret", "function": {"name": "look", "arguments": '{"x":1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [tool], "refusal": "no"}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    reply = Body.of(json.dumps({"model": "gpt-sekrit", "choices": [choice]}).encode())
    question = {"model": "x", "messages": [{"role": "user", "content": "p"}], "tools": [{"type": "function"}]}
    asked = Body.of(json.dumps(question).encode())
    name = answered(ledger, "p", None, body=asked.digest, more=[asked, reply])
    ledger.append(call_with(name, Tier.STRONG, None, body=reply.digest))
    queue_up(ledger, name)
    async with serving(settings_for(MODEL), ledger) as client:
        (item,) = await items_of(client)
    assert item["tools"] == [{"type": "function"}]
    called = {"name": "look", "arguments": '{"x":1}'}
    assert item["answers"] == [{"label": "a", "text": "", "tool_calls": [called], "refusal": "no"}]
    assert "call_secret" not in json.dumps(item)


async def test_an_item_whose_answers_changed_or_went_is_refused(ledger: Ledger) -> None:
    one, two, three = (answered(ledger, f"prompt {n}", f"answer {n}") for n in range(3))
    queue_up(ledger, one, two, three)
    async with serving(settings_for(MODEL), ledger) as client:
        first, second, third = await items_of(client)
        ledger.append(call_with(one, Tier.SMALL, "late", role=Role.SHADOW))
        changed = await label(client, id=first["id"], verdict="good")
        assert (changed.status, changed.error["code"]) == (409, "item_changed")
        assert "has other answers by now" in changed.error["message"]
        with ledger.writing() as connection:
            connection.execute(schema.calls.delete().where(schema.calls.c.request == two))
        gone = await label(client, id=second["id"], verdict="good")
        assert (gone.status, gone.error["code"]) == (409, "item_changed")
        assert "no whole answer any more" in gone.error["message"]
        forget_body(ledger, calls_by_tier(ledger, three)["strong"])
        shown = await items_of(client)
        assert [item["prompt"] for item in shown] == ["prompt 0"], "what cannot be shown is left out"
        assert shown[0]["kind"] == "pair"
        assert (await label(client, id=third["id"], verdict="good")).status == 200, "it was seen in time"
    assert len(labels_in(ledger)) == 1


async def test_what_cannot_be_shown_does_not_shorten_the_page(ledger: Ledger) -> None:
    requests = [answered(ledger, f"prompt {n}", f"answer {n}") for n in range(8)]
    queue_up(ledger, *requests)
    for request in requests[:4]:
        forget_body(ledger, calls_by_tier(ledger, request)["strong"])
    async with serving(settings_for(MODEL), ledger) as client:
        shown = await items_of(client, "limit=2")
    assert [item["prompt"] for item in shown] == ["prompt 4", "prompt 5"]


@pytest.mark.parametrize(
    "unknown", ["nope", "nope.0123456789abcdef", ".x", "a\x00.b", "é.0", "x" * 90 + ".0"]
)
async def test_an_unknown_item_is_not_found(ledger: Ledger, unknown: str) -> None:
    async with serving(settings_for(MODEL), ledger) as client:
        response = await label(client, id=unknown, verdict="good")
    assert (response.status, response.error["code"]) == (404, "item_not_found")


async def test_two_people_at_once_and_one_who_clicks_twice(ledger: Ledger) -> None:
    requests = [answered(ledger, f"prompt {n}", "strong says", "small says") for n in range(6)]
    queue_up(ledger, *requests)
    settings = settings_for(MODEL, annotators=2)
    async with serving(settings, ledger) as one, serving(settings, ledger) as two:
        shown = {person: await items_of(one, f"annotator={person}") for person in ("ada", "bob")}
        responses = await asyncio.gather(
            *(
                label(client, id=item["id"], annotator=person, verdict=verdict)
                for person, items in shown.items()
                for item in items
                for client, verdict in ((one, "tie"), (two, "tie"), (two, "bad"))
            )
        )
    assert {response.status for response in responses} == {200}
    for request in requests:
        for call in calls_by_tier(ledger, request).values():
            for person in ("person:ada", "person:bob"):
                own = [said for said in said_of(ledger, call) if said[0] == person]
                verdicts = [verdict for _, _, verdict, _ in own]
                assert verdicts in (["good", "bad"], ["bad", "good"], ["good", "bad", "good"])
                assert [version for _, version, _, _ in own] == ["1", "2", "3"][: len(own)]


ANNOTATORS = {"ada": hashed("key-ada"), "bob": hashed("key-bob").upper()}


def with_people(annotators: dict[str, str], *keys: str) -> Settings:
    proxy = ProxySettings(keys=tuple(hashed(key) for key in keys))
    return msgspec.structs.replace(settings_for(MODEL, proxy=proxy), annotators=annotators)


async def test_people_come_in_by_their_keys_and_under_their_own_name(ledger: Ledger) -> None:
    request = answered(ledger)
    queue_up(ledger, request)
    async with serving(with_people(ANNOTATORS, "client"), ledger) as client:
        for refused in (await fetch(client), await fetch(client, key="stranger")):
            assert (refused.status, refused.error["type"]) == (401, "authentication_error")
        clients = await fetch(client, key="client")
        assert (clients.status, clients.error["code"]) == (403, "not_an_annotator")
        assert "[annotators]" in clients.error["message"]
        posing = await fetch(client, "annotator=ada", key="key-bob")
        assert (posing.status, posing.error["code"]) == (403, "wrong_annotator")
        (item,) = await items_of(client, "annotator=bob", key="key-bob")
        assert (await label(client, "client", id=item["id"], verdict="good")).status == 403
        assert (await label(client, id=item["id"], verdict="good")).status == 401
        posing = await label(client, "key-bob", id=item["id"], annotator="ada", verdict="good")
        assert posing.status == 403
        assert labels_in(ledger) == []
        kept = await label(client, "key-bob", id=item["id"], verdict="good")
        assert kept.json["annotator"] == "bob"
        chat = await client.chat({"Authorization": "Bearer key-ada"})
        assert chat.status == 401, "who labels may not spend money on models"
    assert [row.labeller for row in labels_in(ledger)] == ["person:bob"]


async def test_keys_of_clients_without_annotators_open_nothing(ledger: Ledger) -> None:
    async with serving(with_people({}, "client"), ledger) as client:
        assert (await fetch(client, "annotator=ada")).status == 401
        assert (await fetch(client, key="client")).status == 403
    async with serving(with_people(ANNOTATORS), ledger) as client:
        assert (await fetch(client, "annotator=ada")).status == 401
        stranger = await fetch(client, key="client")
        assert (stranger.status, stranger.error["code"]) == (401, "invalid_api_key")
        assert (await client.chat()).status != 401, "on loopback, models stay open to all"


async def test_labels_of_others_do_not_hide_an_item(ledger: Ledger) -> None:
    request = answered(ledger, "p", "strong says", "small says")
    queue_up(ledger, request)
    calls = calls_by_tier(ledger, request)
    ledger.append([a_label(subject=calls["small"]), a_label(subject=calls["small"], labeller="person:adam")])
    async with serving(settings_for(MODEL, annotators=2), ledger) as client:
        assert len(await items_of(client, "annotator=ada")) == 1
        assert await items_of(client, "annotator=adam") == []


async def test_what_comes_last_is_newest_whatever_the_clocks_say(ledger: Ledger) -> None:
    request = answered(ledger)
    queue_up(ledger, request)
    (call,) = calls_by_tier(ledger, request).values()
    async with serving(settings_for(MODEL), ledger) as client:
        (item,) = await items_of(client, "annotator=ada")
        ahead = a_label(subject=call, labeller="person:ada", version="2", at=now() + timedelta(hours=1))
        ledger.append([ahead])
        await label(client, id=item["id"], annotator="ada", verdict="bad")
    assert [row.verdict for row in labels_in(ledger)] == ["good", "bad"]
    assert len({row.version for row in labels_in(ledger)}) == 2
