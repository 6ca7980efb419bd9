"""Answers are asked for once, kept before they are used, and taken up where a kill left them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import func, select

from evals.answering import Answered, Answering, answer_key
from router.ask import Asker, open_asker
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger, schema
from stepdown.settings import Settings
from tests import fakes
from tests.fakes import FakeModel, Reply, plain, running
from tests.processes import Process, wait_until

ON_BOTH_DATABASES = True


@pytest.fixture
def model() -> Iterator[FakeModel]:
    fake = FakeModel()
    with running(fake):
        yield fake


def settings_of(model: FakeModel, **more: Any) -> Settings:
    prices = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
    return Settings(models={"a": model.settings("big", **{**prices, **more})})


def fields(text: str = "Hi") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def answers(ledger: Ledger, settings: Settings, *questions: dict[str, Any], **how: Any) -> list[Answered]:
    async def ask() -> list[Answered]:
        async with open_asker(settings, {}, settings.models) as opened:
            asker = Asker(opened.models, concurrency=4, attempts=2, sleep=lambda _: asyncio.sleep(0))
            answering = Answering(asker, settings.models, ledger, task="sums", purpose="eval")
            return list(await asyncio.gather(*(answering.answer("a", q, **how) for q in questions)))

    return asyncio.run(ask())


def test_a_question_is_asked_once(ledger: Ledger, model: FakeModel) -> None:
    (first,) = answers(ledger, settings_of(model), fields())
    (again,) = answers(ledger, settings_of(model), fields())
    assert len(model.asked) == 1
    assert (first.fresh, first.spent_usd_micros) == (True, 37)
    assert (again.fresh, again.spent_usd_micros) == (False, 0)
    assert again.answer == first.answer
    assert again.kept == first.kept
    assert again.kept is not None
    assert again.kept.cost_usd_micros == 37
    assert (again.kept.task, again.kept.purpose) == ("sums", "eval")


def test_the_same_question_twice_at_once_is_asked_once(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = lambda _: plain("Slow.") if len(model.asked) == 1 else plain("Other.")
    both = answers(ledger, settings_of(model), fields(), fields())
    assert [one.answer.text for one in both if one.answer] == ["Slow.", "Slow."]
    assert len(model.asked) == 1
    assert sorted((one.fresh, one.spent_usd_micros) for one in both) == [(False, 0), (True, 37)]


@pytest.mark.parametrize("changed", [{"model": "bigger"}, {"url": "http://127.0.0.1:1/v1"}])
def test_another_model_or_address_is_another_question(model: FakeModel, changed: dict[str, str]) -> None:
    before = settings_of(model).models["a"]
    after = msgspec.structs.replace(before, **changed)
    assert answer_key(before, fields(), 0) != answer_key(after, fields(), 0)


def test_what_does_not_change_the_answer_does_not_change_the_key(model: FakeModel) -> None:
    dearer = settings_of(model, output_usd_per_million=99.0, timeout_s=3.0).models["a"]
    assert answer_key(settings_of(model).models["a"], fields(), 0) == answer_key(dearer, fields(), 0)


def test_samples_are_different_questions(ledger: Ledger, model: FakeModel) -> None:
    settings = settings_of(model)
    answers(ledger, settings, fields(), sample=0)
    answers(ledger, settings, fields(), sample=1)
    answers(ledger, settings, {**fields(), "temperature": 1.0})
    assert len(model.asked) == 3


def test_a_failure_is_said_and_tried_anew(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = lambda _: fakes.error(500, "broken inside")
    (failed,) = answers(ledger, settings_of(model), fields())
    assert (failed.answer, failed.kept, failed.status) == (None, None, 500)
    assert "broken inside" in (failed.error or "")
    model.behaviour = lambda _: plain("Better.")
    (better,) = answers(ledger, settings_of(model), fields())
    assert better.fresh
    assert better.answer is not None
    assert better.answer.text == "Better."


def test_one_failure_does_not_harm_the_others(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = lambda asked: fakes.error(400) if b"bad" in asked.body else plain()
    results = answers(ledger, settings_of(model), fields("bad"), *(fields(f"good {i}") for i in range(5)))
    assert [result.error is None for result in results] == [False, True, True, True, True, True]


def test_what_repeated_attempts_cost_is_counted(ledger: Ledger, model: FakeModel) -> None:
    replies = [Reply(parts=(b'{"usage": {"prompt_tokens": 5, "completion_tokens": 1}}',)), plain()]
    model.behaviour = lambda _: replies.pop(0)
    (result,) = answers(ledger, settings_of(model), fields())
    assert result.spent_usd_micros == (5 + 10) + (7 + 30)


def test_a_price_that_is_not_known_is_not_zero(ledger: Ledger, model: FakeModel) -> None:
    unpriced = settings_of(model, input_usd_per_million=None, output_usd_per_million=None)
    (result,) = answers(ledger, unpriced, fields())
    assert result.spent_usd_micros is None


def test_an_answer_whose_text_was_deleted_is_asked_for_anew(ledger: Ledger, model: FakeModel) -> None:
    answers(ledger, settings_of(model), fields())
    with ledger.writing() as connection:
        connection.execute(schema.bodies.delete())
    (anew,) = answers(ledger, settings_of(model), fields())
    assert anew.answer is not None
    assert len(model.asked) == 2


def test_an_alias_that_is_not_declared_is_named(ledger: Ledger, model: FakeModel) -> None:
    async def ask() -> None:
        async with open_asker(settings_of(model), {}, ["a"]) as asker:
            answering = Answering(asker, settings_of(model).models, ledger, task="t", purpose="eval")
            await answering.answer("b", fields())

    with pytest.raises(SettingsError, match=r"'b' is not declared; declared: a"):
        asyncio.run(ask())


def test_a_question_that_nobody_waits_for_any_more_may_break_in_silence(
    ledger: Ledger, model: FakeModel
) -> None:
    class Breaking:
        async def ask(self, *_: Any, **__: Any) -> Any:
            await released.wait()
            raise RuntimeError("Connection closed.")

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        answering = Answering(
            cast("Asker", Breaking()), settings_of(model).models, ledger, task="t", purpose="eval"
        )
        waiting = asyncio.create_task(answering.answer("a", fields()))
        await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        released.set()
        (left,) = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait([left])
        del left
        await asyncio.sleep(0)
        gc.collect()

    released, said = asyncio.Event(), list[dict[str, Any]]()
    asyncio.run(leave())
    assert said == []


KILLED = """
import asyncio, sys
from evals.answering import Answering
from router.ask import open_asker
from stepdown.ledger import Ledger
from stepdown.settings import load_settings

async def main():
    settings = load_settings(sys.argv[1])
    ledger = Ledger(settings.database_url)
    async with open_asker(settings, {}, ["a"], concurrency=2) as asker:
        answering = Answering(asker, settings.models, ledger, task="sums", purpose="eval")
        for number in range(40):
            await answering.answer("a", {"messages": [{"role": "user", "content": f"q{number}"}]})

asyncio.run(main())
"""


def test_a_run_that_is_killed_is_taken_up_where_it_was(
    ledger: Ledger, model: FakeModel, tmp_path: Path
) -> None:
    model.behaviour = lambda _: replace(plain(), pause_s=0.02)
    url = ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    settings = msgspec.structs.replace(settings_of(model), database=url)
    file = tmp_path / "settings.json"
    file.write_bytes(msgspec.json.encode(settings))
    count = select(func.count()).select_from(schema.cached_answers)
    with Process([sys.executable, "-c", KILLED, str(file)], tmp_path / "log") as process:
        wait_until("ten answers are kept", lambda: ledger.rows(count)[0][0] >= 10)
        process.kill_group()
    kept = int(ledger.rows(count)[0][0])
    assert 10 <= kept < 40
    with Process([sys.executable, "-c", KILLED, str(file)], tmp_path / "log") as process:
        assert process.popen.wait(60) == 0
    asked = [one.json["messages"][0]["content"] for one in model.asked]
    assert set(asked) == {f"q{number}" for number in range(40)}
    assert len(asked) <= 41, "only the answer under way at the kill may be asked for again"
    assert int(ledger.rows(count)[0][0]) == 40
