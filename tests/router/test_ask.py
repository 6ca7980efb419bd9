"""Asking models for those who are no clients: when to try again, how many at once, what is recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from router.ask import LONGEST_WAIT_S, Asked, Asker, open_asker
from stepdown.errors import SettingsError
from stepdown.records import Call, Role
from stepdown.settings import ModelSettings, Settings
from tests import fakes
from tests.fakes import FakeModel, Reply, plain, running, streamed

QUESTION = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}


@pytest.fixture
def model() -> Iterator[FakeModel]:
    fake = FakeModel()
    with running(fake):
        yield fake


def settings_of(model: FakeModel, **more: Any) -> Settings:
    return Settings(models={"judge": model.settings("big", **more)})


def in_turn(*replies: Reply) -> Callable[[fakes.Asked], Reply]:
    """Answers with each reply once, and with the last one for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def ask(settings: Settings, waits: list[float] | None = None, attempts: int = 5) -> Asked:
    async def sleep(seconds: float) -> None:
        (waits if waits is not None else []).append(seconds)

    async with open_asker(settings, {}, ["judge"]) as opened:
        asker = Asker(opened.models, concurrency=4, attempts=attempts, sleep=sleep)
        return await asker.ask("judge", QUESTION, request="r1")


async def test_an_answer_comes_with_its_call_and_body(model: FakeModel) -> None:
    model.behaviour = lambda _: plain("Prose, and no JSON at all.")
    asked = await ask(settings_of(model, input_usd_per_million=1.0, output_usd_per_million=10.0))
    assert asked.error is None
    assert asked.answer is not None
    assert asked.answer.text == "Prose, and no JSON at all."
    (call,) = asked.calls
    assert (call.request, call.role, call.status, call.complete) == ("r1", Role.JUDGE, 200, True)
    assert call.cost_usd_micros == 7 * 1 + 3 * 10
    assert asked.bodies[0].digest == call.body
    assert model.asked[0].json == {**QUESTION, "model": "big"}


async def test_a_busy_model_is_asked_again_when_it_says(model: FakeModel) -> None:
    busy = fakes.error(429, "slow down", headers=(("Retry-After", "7"),))
    model.behaviour = in_turn(busy, busy, plain("At last."))
    waits: list[float] = []
    asked = await ask(settings_of(model), waits)
    assert asked.answer is not None
    assert asked.answer.text == "At last."
    assert waits == [7.0, 7.0]
    assert [call.status for call in asked.calls] == [429, 429, 200]
    assert sum(isinstance(record, Call) for record in asked.records) == 3


async def test_no_wait_is_longer_than_the_longest(model: FakeModel) -> None:
    model.behaviour = in_turn(fakes.error(429, headers=(("Retry-After", "86400"),)), plain())
    waits: list[float] = []
    await ask(settings_of(model), waits)
    assert waits == [LONGEST_WAIT_S]


async def test_without_a_word_from_the_model_waits_grow(model: FakeModel) -> None:
    model.behaviour = in_turn(fakes.error(500), fakes.error(503), fakes.error(529), plain())
    waits: list[float] = []
    asked = await ask(settings_of(model), waits)
    assert asked.error is None
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits))
    assert len(waits) == 3


async def test_it_gives_up_after_the_last_attempt(model: FakeModel) -> None:
    model.behaviour = lambda _: fakes.error(500, "broken inside")
    asked = await ask(settings_of(model), attempts=3)
    assert asked.answer is None
    assert "broken inside" in (asked.error or "")
    assert len(asked.calls) == len(model.asked) == 3


async def test_what_will_not_get_better_is_asked_once(model: FakeModel) -> None:
    model.behaviour = lambda _: fakes.error(400, "too long for me")
    asked = await ask(settings_of(model))
    assert "too long for me" in (asked.error or "")
    assert len(model.asked) == 1


async def test_a_model_that_is_too_slow_is_asked_again(model: FakeModel) -> None:
    model.behaviour = in_turn(Reply(head_after_s=2.0, parts=(b"{}",)), plain("Quick."))
    asked = await ask(settings_of(model, timeout_s=0.2))
    assert asked.answer is not None
    assert [call.status for call in asked.calls] == [0, 200]
    assert "sent nothing for 0.2 s" in (asked.calls[0].error or "")


async def test_when_the_time_is_up_a_silent_model_is_tried_no_more_but_a_busy_one_is(
    model: FakeModel,
) -> None:
    def opened() -> AbstractAsyncContextManager[Asker]:
        return open_asker(settings_of(model, timeout_s=0.2), {}, ["judge"], until=0.0)

    model.behaviour = in_turn(Reply(head_after_s=2.0, parts=(b"{}",)), plain("Quick."))
    async with opened() as asker:
        asked = await asker.ask("judge", QUESTION, request="r1")
    assert [call.status for call in asked.calls] == [0]
    model.behaviour = in_turn(fakes.error(429, headers=(("Retry-After", "0"),)), plain("Free."))
    async with opened() as asker:
        asked = await asker.ask("judge", QUESTION, request="r1")
    assert [call.status for call in asked.calls] == [429, 200]


async def test_a_model_that_is_away_is_said_to_be() -> None:
    away = ModelSettings(model="big", url=f"http://127.0.0.1:{fakes.closed_port()}/v1")
    asked = await ask(Settings(models={"judge": away}), attempts=2)
    assert "cannot be reached" in (asked.error or "")
    assert [call.status for call in asked.calls] == [0, 0]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"error": {"message": "overloaded"}}', b"<html>gateway</html>", b'{"choices": []}']
)
async def test_a_success_without_an_answer_in_it_is_none(model: FakeModel, body: bytes) -> None:
    model.behaviour = in_turn(Reply(parts=(body,)), plain("Now."))
    asked = await ask(settings_of(model))
    assert asked.answer is not None
    assert asked.answer.text == "Now."
    assert asked.calls[0].error is not None


async def test_an_answer_that_breaks_off_is_asked_for_again(model: FakeModel) -> None:
    model.behaviour = in_turn(Reply(parts=(b'{"choices": [',), breaks=True), plain("Whole."))
    asked = await ask(settings_of(model))
    assert asked.answer is not None
    assert asked.answer.text == "Whole."


async def test_a_stream_that_nobody_asked_for_is_read_whole(model: FakeModel) -> None:
    model.behaviour = lambda _: streamed("Hello there, you.", pause_s=0.01)
    asked = await ask(settings_of(model))
    assert asked.answer is not None
    assert asked.answer.text.split() == ["Hello", "there,", "you."]
    assert asked.calls[0].complete


async def test_an_empty_answer_is_an_answer(model: FakeModel) -> None:
    model.behaviour = lambda _: plain("")
    asked = await ask(settings_of(model))
    assert asked.error is None
    assert len(model.asked) == 1


class Counting(FakeModel):
    """Notes how many questions it is answering at once."""

    under_way = 0
    most = 0

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.02)
        self.under_way -= 1
        return await super()._answer(reply, writer)


def test_one_model_is_never_asked_more_often_at_once_than_the_limit() -> None:
    async def ask_many() -> None:
        async with open_asker(settings_of(counting), {}, ["judge"], concurrency=3) as asker:
            await asyncio.gather(*(asker.ask("judge", {**QUESTION, "n": n}, request="r") for n in range(12)))

    counting = Counting()
    with running(counting):
        asyncio.run(ask_many())
    assert len(counting.asked) == 12
    assert counting.most == 3


async def test_an_alias_that_is_not_declared_is_named(model: FakeModel) -> None:
    with pytest.raises(SettingsError, match=r"'jduge' is not declared.*declared: judge"):
        async with open_asker(settings_of(model), {}, ["jduge"]):
            pass


async def test_a_key_that_is_not_set_is_named_before_anything_is_asked(model: FakeModel) -> None:
    with pytest.raises(SettingsError, match="BIG_KEY"):
        async with open_asker(settings_of(model, api_key_env="BIG_KEY"), {}, ["judge"]):
            pass
    assert model.asked == []


async def test_the_key_is_sent_and_kept_out_of_the_records(model: FakeModel) -> None:
    model.behaviour = lambda asked: fakes.error(401, f"bad key {asked.headers['authorization']}")
    async with open_asker(
        settings_of(model, api_key_env="BIG_KEY"), {"BIG_KEY": "sk-secret"}, ["judge"]
    ) as asker:
        asked = await asker.ask("judge", QUESTION, request="r1")
    assert model.asked[0].headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in json.dumps([str(record) for record in asked.records])
    assert "sk-secret" not in (asked.error or "")
