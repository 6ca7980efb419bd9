"""What users say of answers: kept once, newest last, and only by those whose answer it was."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from stepdown.errors import LedgerError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Feedback, Mode
from stepdown.settings import ProxySettings, TaskSettings
from tests.answered import answered, feedback_in
from tests.fakes import FakeModel
from tests.router.driver import Client, Response, serving, settings_for
from tests.router.ledgers import promote
from tests.router.test_access import hashed

ON_BOTH_DATABASES = True
JSON = {"content-type": "application/json"}


async def say(client: Client, headers: dict[str, str] | None = None, **fields: Any) -> Response:
    body = json.dumps(fields).encode()
    return await client.send("POST", "/v1/feedback", body, {**JSON, **(headers or {})})


def kept(ledger: Ledger) -> list[tuple[str, Any]]:
    return [(row.kind, json.loads(row.value)) for row in feedback_in(ledger)]


async def test_all_that_is_said_of_an_answer_is_kept(ledger: Ledger, strong: FakeModel) -> None:
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        request = (await client.chat()).id
        said: dict[str, Any] = {
            "thumb": "up",
            "score": 0.75,
            "comment": "nice\x00",
            "outcome": True,
            "edit": "",
        }
        response = await say(client, request_id=request, **said)
    assert response.json == {
        "object": "stepdown.feedback",
        "request_id": request,
        "kept": ["thumb", "score", "comment", "outcome", "edit"],
        "known": [],
    }
    assert dict(kept(ledger)) == said
    assert {row.request for row in feedback_in(ledger)} == {request}
    assert response.headers["cache-control"] == "no-store"


async def test_the_same_twice_is_kept_once_and_what_is_new_beside_it(
    ledger: Ledger, strong: FakeModel
) -> None:
    request = answered(ledger)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await say(client, request_id=request, thumb="up", score=1)
        again = await say(client, id=request, thumb=True, score=1.0, comment="late")
    assert (again.json["kept"], again.json["known"]) == (["comment"], ["thumb", "score"])
    assert sorted(kept(ledger)) == [("comment", "late"), ("score", 1.0), ("thumb", "up")]


async def test_a_changed_mind_is_newer_even_when_it_changes_back(ledger: Ledger, strong: FakeModel) -> None:
    request = answered(ledger)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        for thumb in ("up", "down", "down", "up", "up"):
            assert (await say(client, request_id=request, thumb=thumb)).status == 200
    assert kept(ledger) == [("thumb", "up"), ("thumb", "down"), ("thumb", "up")]
    ats = [row.at for row in feedback_in(ledger)]
    assert ats == sorted(set(ats))


async def test_the_same_from_many_at_once_is_kept_once(ledger: Ledger, strong: FakeModel) -> None:
    request = answered(ledger)
    settings = settings_for(strong.settings("gpt"))
    async with serving(settings, ledger) as one, serving(settings, ledger) as two:
        all_said = [say(client, request_id=request, thumb="down") for client in (one, two) * 8]
        responses = await asyncio.gather(*all_said)
    assert {response.status for response in responses} == {200}
    assert kept(ledger) == [("thumb", "down")]


async def test_feedback_while_the_ledger_is_being_written(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    promote(ledger, Mode.SHADOW)
    async with serving(settings_for(strong.settings("gpt"), small.settings("mini")), ledger) as client:

        async def ask_and_say(number: int) -> Response:
            request = (await client.chat()).id
            return await say(client, request_id=request, score=number / 20)

        responses = await asyncio.gather(*(ask_and_say(number) for number in range(20)))
    assert [response.json["kept"] for response in responses] == [["score"]] * 20
    assert sorted(value for _, value in kept(ledger)) == [number / 20 for number in range(20)]


def not_found(response: Response, request: str) -> str:
    """The words of a 404, without the id."""
    assert (response.status, response.error["code"]) == (404, "request_not_found")
    assert response.error["param"] == "request_id"
    message: str = response.error["message"]
    assert "x-stepdown-request-id" in message
    return message.replace(request, "ID")


@pytest.mark.parametrize("unknown", ["nope", "", "x" * 500, "a\x00b", "é", "../1", " "])
async def test_an_unknown_request_is_not_found(ledger: Ledger, strong: FakeModel, unknown: str) -> None:
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await say(client, request_id=unknown, thumb="up")
    assert "is not known to this key" in not_found(response, "?")
    assert kept(ledger) == []


async def test_anothers_request_is_as_unknown_as_one_that_never_was(
    ledger: Ledger, strong: FakeModel
) -> None:
    task = TaskSettings(keys=(hashed("sum-1"), hashed("sum-2")))
    proxy = ProxySettings(keys=(hashed("a"), hashed("b")))
    settings = settings_for(strong.settings("gpt"), proxy=proxy, tasks={"sums": task})
    of_a = answered(ledger, key="a")
    of_sums = answered(ledger, key="sum-1", task="sums")
    async with serving(settings, ledger) as client:

        async def say_as(key: str, request: str) -> Response:
            return await say(client, {"Authorization": f"Bearer {key}"}, request_id=request, thumb="up")

        never = "0" * len(of_a)
        unknown = not_found(await say_as("b", never), never)
        assert not_found(await say_as("b", of_a), of_a) == unknown
        assert not_found(await say_as("sum-1", of_a), of_a) == unknown
        assert not_found(await say_as("b", of_sums), of_sums) == unknown
        assert kept(ledger) == []
        assert (await say_as("a", of_a)).status == 200
        assert (await say_as("sum-2", of_sums)).status == 200, "the key is of the request's task"
        assert (await say_as("stranger", of_a)).status == 401
        assert (await say(client, request_id=of_a, thumb="up")).status == 401
    assert len(kept(ledger)) == 2


async def test_a_ledger_that_refuses_is_a_503_and_nothing_is_acknowledged(
    ledger: Ledger, strong: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise LedgerError("disk full")

    request = answered(ledger)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "append", refuse)
            response = await say(client, request_id=request, thumb="up")
        assert (response.status, response.error["code"]) == (503, "ledger_unavailable")
        assert response.reason == "refused"
        assert (await say(client, request_id=request, thumb="up")).json["kept"] == ["thumb"]


async def test_before_the_start_there_is_a_503(strong: FakeModel) -> None:
    from router.app import create_app

    client = Client(create_app(settings_for(strong.settings("gpt")), environ={}))
    assert (await say(client, request_id="x", thumb="up")).status == 503
    assert (await client.send("GET", "/v1/labels/queue")).status == 503
    assert (await client.send("POST", "/v1/labels", b"{}", JSON)).status == 503


async def test_what_comes_last_is_newest_whatever_the_clocks_say(ledger: Ledger, strong: FakeModel) -> None:
    request = answered(ledger)
    ahead = now() + timedelta(hours=1)
    ledger.append([Feedback(id="0" * 64, request=request, at=ahead, kind="thumb", value='"up"')])
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        await say(client, request_id=request, thumb="down")
    assert kept(ledger) == [("thumb", "up"), ("thumb", "down")]
