"""Check, judge and majority in the proxy: what is picked, by what, and what it costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.picking.examination import Examination, Finding
from evals.picking.stages import ByCheck, picking_stages
from router import picking
from router.picking import Candidate, Question, plain_stages
from router.prompt import Prompt
from router.wire import NO_HINTS, Answer
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.settings import (
    CandidateSettings,
    JudgeSettings,
    ModelSettings,
    PortfolioSettings,
    Settings,
    TaskSettings,
    load_settings,
)
from tests.fakes import Asked, FakeModel, Reply, error, plain, streamed
from tests.router.driver import Client, Response, serving
from tests.router.ledgers import calls_of

PRICES = {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}
COST = 7 * 10 + 3 * 100
NUMBER: dict[str, Any] = {"checks": {"total": {"kind": "number"}}, "check": "total"}
JUDGED: dict[str, Any] = {"judges": {"wise": JudgeSettings(model="judge")}}


def settings_for(model: FakeModel, *texts: str, judge: str | None = None, **task: Any) -> Settings:
    """A task whose candidates answer with their system texts."""
    portfolio = PortfolioSettings(
        candidates=tuple(CandidateSettings(model="strong", system=text) for text in texts), judge=judge
    )
    models = {"strong": model.settings("gpt", **PRICES), "judge": model.settings("judge", **PRICES)}
    return Settings(models=models, tasks={"default": TaskSettings(portfolio=portfolio, **task)})


def candidates_and(judge: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """Candidates that answer with their system texts, and a judge."""

    def behave(asked: Asked) -> Reply:
        if asked.json["model"] == "judge":
            return judge(asked)
        text = asked.json["messages"][0]["content"]
        return streamed(text) if asked.json.get("stream") else plain(text)

    return behave


def prefers(text: str) -> Callable[[Asked], Reply]:
    """A judge that prefers the answer with a text in it."""

    def judge(asked: Asked) -> Reply:
        shown = asked.json["messages"][1]["content"]
        winner = "A" if text in shown.partition("BEGIN ANSWER B")[0] else "B"
        return plain(json.dumps({"reason": "it says so", "winner": winner}))

    return judge


def text_of(response: Response) -> str:
    return str(response.json["choices"][0]["message"]["content"])


def by(response: Response) -> str:
    return response.headers["x-stepdown-picked-by"]


async def asked_with(client: Client, **hints: Any) -> tuple[str, str]:
    response = await client.chat(metadata={f"stepdown.{key}": value for key, value in hints.items()})
    return text_of(response), by(response)


async def test_the_check_picks_where_the_request_brings_what_it_needs(
    ledger: Ledger, model: FakeModel
) -> None:
    model.behaviour = candidates_and(prefers("nobody"))
    settings = settings_for(model, "41", "is 41.0", "It is 42", **NUMBER)
    async with serving(settings, ledger, stages_of=picking_stages(settings, os.environ)) as client:
        assert await asked_with(client, reference="42") == ("It is 42", "check")
        assert await asked_with(client) == ("41", "majority"), "no reference"
        assert await asked_with(client, reference="41", check="other") == ("41", "first"), "undeclared"
        assert await asked_with(client, reference="none of them: 7") == ("41", "majority"), "all are bad"
        assert await asked_with(client, reference="41") == ("41", "majority"), "two are good"


async def test_a_check_without_a_reference_picks_too(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = candidates_and(prefers("nobody"))
    wants: dict[str, Any] = {"checks": {"polite": {"kind": "regex", "pattern": "please"}}, "check": "polite"}
    settings = settings_for(model, "no", "no", "yes, please", **wants)
    async with serving(settings, ledger, stages_of=picking_stages(settings, os.environ)) as client:
        assert await asked_with(client) == ("yes, please", "check")


class Found:
    """Examiners that have found."""

    def __init__(self, *verdicts: str) -> None:
        self._verdicts = verdicts

    async def examine(self, examination: Examination) -> list[Finding]:
        return [Finding(verdict, None) for verdict in self._verdicts]


@pytest.mark.parametrize(
    ("verdicts", "left"),
    [
        (("bad", "unscored", "good"), [2]),
        (("bad", "unscored", "unscored"), [1, 2]),
        (("unscored", "unscored", "unscored"), [0, 1, 2]),
        (("bad", "bad", "bad"), [0, 1, 2]),
    ],
)
async def test_what_cannot_be_scored_is_worth_more_than_bad_and_less_than_good(
    verdicts: tuple[str, ...], left: list[int]
) -> None:
    stage = ByCheck(TaskSettings(**NUMBER), Found(*verdicts))  # type: ignore[arg-type]
    question = Question(Prompt("", "", "q", 1, frozenset(), None, None), NO_HINTS)
    among = [Candidate(number, Answer(text="x")) for number in range(3)]
    assert [c.number for c in await stage.narrow(question, among, nobody)] == left


async def nobody(alias: str, fields: Any) -> None:
    raise AssertionError("a check asks no model")


async def test_the_judge_picks_and_is_on_the_bill(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = candidates_and(prefers("better"))
    settings = settings_for(model, "one", "the better one", judge="wise", **JUDGED)
    async with serving(settings, ledger, stages_of=picking_stages(settings, os.environ)) as client:
        response = await client.chat()
    assert (text_of(response), by(response)) == ("the better one", "judge")
    assert response.headers["x-stepdown-candidates"] == "2"
    calls = calls_of(ledger, response.id)
    assert sorted((call.role, call.model) for call in calls) == [
        ("candidate", "gpt"),
        ("judge", "judge"),
        ("judge", "judge"),
        ("live", "gpt"),
    ]
    assert [call.cost_usd_micros for call in calls] == [COST] * 4
    assert {(call.tier, call.complete) for call in calls} == {("strong", True)}


@pytest.mark.parametrize(
    "failing",
    [
        plain("A wins."),
        error(429, "busy"),
        error(500, "boom"),
        replace(plain(), head_after_s=5),
        Reply(breaks=True),
    ],
    ids=["prose", "busy", "broken", "hanging", "cut off"],
)
async def test_a_judge_that_fails_leaves_the_pick_to_the_next_stage(
    ledger: Ledger, model: FakeModel, monkeypatch: pytest.MonkeyPatch, failing: Reply
) -> None:
    monkeypatch.setattr(picking, "STAGE_LIMIT_S", 0.5)
    model.behaviour = candidates_and(lambda asked: failing)
    settings = settings_for(model, "x", "y", "y", judge="wise", **JUDGED)
    async with serving(settings, ledger, stages_of=picking_stages(settings, os.environ)) as client:
        response = await client.chat(stream=True)
        exposition = client.app._metrics.exposition().decode()
    assert (response.status, by(response)) == (200, "majority")
    assert b'"y "' in response.body
    judging = [call for call in calls_of(ledger, response.id) if call.role == "judge"]
    assert len(judging) == 2
    assert 'stepdown_picker_failures_total{stage="judge",task="default"} 1.0' in exposition
    if failing.head_after_s:
        assert all("broken off" in call.error for call in judging)


async def test_the_stages_come_in_the_order_of_the_settings(ledger: Ledger, model: FakeModel) -> None:
    model.behaviour = candidates_and(prefers("41 or so"))
    settings = settings_for(model, "42", "41 or so", "42.0", judge="wise", **NUMBER, **JUDGED)
    task = settings.tasks["default"]
    for order, found in [
        (("check", "judge", "majority"), ("42", "majority")),
        (("judge", "check", "majority"), ("41 or so", "judge")),
        (("majority", "judge"), ("42", "majority")),
        (("check",), ("42", "first")),
    ]:
        portfolio = PortfolioSettings(candidates=task.portfolio.candidates, picker=order, judge="wise")  # type: ignore[union-attr, arg-type]
        changed = Settings(
            models=settings.models, tasks={"default": TaskSettings(portfolio=portfolio, **NUMBER, **JUDGED)}
        )
        async with serving(changed, ledger, stages_of=picking_stages(changed, os.environ)) as client:
            assert await asked_with(client, reference="42") == found, order


def test_stages_that_a_task_does_not_declare_are_left_out(model: FakeModel) -> None:
    bare = settings_for(model, "a", "b")
    made = picking_stages(bare, os.environ)("default", bare.tasks["default"])
    assert [stage.name for stage in made] == ["majority"]
    full = settings_for(model, "a", "b", judge="wise", **NUMBER, **JUDGED)
    made = picking_stages(full, os.environ)("default", full.tasks["default"])
    assert [stage.name for stage in made] == ["check", "judge", "majority"]


def test_a_judge_whose_model_is_away_is_refused() -> None:
    portfolio = PortfolioSettings(candidates=(CandidateSettings(model="strong"),), judge="wise")
    settings = Settings(
        models={"strong": ModelSettings(model="m")},
        tasks={"default": TaskSettings(portfolio=portfolio, **JUDGED)},
    )
    with pytest.raises(SettingsError, match="'judge' is not a model"):
        picking_stages(settings, os.environ)("default", settings.tasks["default"])
    with pytest.raises(SettingsError, match="has 'judge'"):
        plain_stages("default", settings.tasks["default"])


def test_the_page_on_portfolios_shows_settings_that_work(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "portfolio.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    models = '[models.strong]\nmodel = "a"\n[models.other]\nmodel = "b"\n'
    file = tmp_path / "stepdown.toml"
    file.write_text(models + block)
    settings = load_settings(file, environ={})
    made = picking_stages(settings, os.environ)("default", settings.tasks["default"])
    assert [stage.name for stage in made] == ["check", "judge", "majority"]
    assert set(re.findall(r"^\| `x-stepdown-([a-z-]+)`", page, re.MULTILINE)) == {
        "model",
        "candidates",
        "picked-by",
    }


def test_the_serving_process_stays_light_with_a_portfolio_too() -> None:
    probe = "import router.serving, evals.picking.stages, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & {
        "litellm",
        "pandas",
        "sklearn",
        "scipy",
        "matplotlib",
        "celery",
        "pint",
        "jsonschema",
    }
