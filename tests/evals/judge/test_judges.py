"""What a judge's labels are named by, and which words of the API its model is asked in."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evals.judge.combine import Part
from evals.judge.judges import Judge, judge_of, judges_of, limit_field
from evals.judge.prompts import Material
from stepdown.errors import SettingsError
from stepdown.settings import JudgeSettings, ModelSettings, Settings, TaskSettings

MODEL = ModelSettings(model="m", url="http://127.0.0.1:9/v1")
SETTINGS = JudgeSettings(model="m")


def judge(settings: JudgeSettings = SETTINGS, model: ModelSettings = MODEL) -> Judge:
    return Judge("t", "j", settings, model)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "single"},
        {"rubric": "Be brief."},
        {"votes": 3},
        {"temperature": 0.5},
        {"temperature": None},
        {"max_tokens": 500},
    ],
)
def test_what_could_change_the_verdict_changes_the_version(changes: dict[str, Any]) -> None:
    assert judge(replace(SETTINGS, **changes)).version != judge().version


@pytest.mark.parametrize(
    "changes", [{"model": "n"}, {"url": "http://127.0.0.1:10/v1"}, {"capabilities": ("json",)}]
)
def test_so_does_another_model(changes: dict[str, Any]) -> None:
    assert judge(model=replace(MODEL, **changes)).version != judge().version


@pytest.mark.parametrize("changes", [{"share": 0.5}, {"batch_from": 7}, {"model": "another alias of it"}])
def test_what_could_not_leaves_it(changes: dict[str, Any]) -> None:
    assert judge(replace(SETTINGS, **changes)).version == judge().version
    assert judge(model=replace(MODEL, input_usd_per_million=1.0, timeout_s=5)).version == judge().version


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://notapi.openai.com.example/v1", "max_tokens"),
        (None, "max_tokens"),
    ],
)
def test_the_limit_is_named_as_the_api_knows_it(url: str | None, field: str) -> None:
    assert limit_field(replace(MODEL, url=url)) == field


def test_a_model_that_takes_json_is_sent_the_form() -> None:
    material = Material("q", ("a", "b"))
    assert "response_format" not in judge().fields(material, Part(1))
    taking = judge(model=replace(MODEL, capabilities=("json",)))
    assert taking.fields(material, Part(1))["response_format"]["type"] == "json_schema"


def test_judges_are_found_by_name_or_not_at_all() -> None:
    judges = {"a": SETTINGS, "b": SETTINGS}
    settings = Settings(models={"m": MODEL}, tasks={"t": TaskSettings(judges=judges), "u": TaskSettings()})
    assert [one.labeller for one in judges_of(settings, "t")] == ["judge:a", "judge:b"]
    with pytest.raises(SettingsError, match="'c'; declared: a, b"):
        judge_of(settings, "t", "c")
    with pytest.raises(SettingsError, match=r"add \[tasks.u.judges.NAME\]"):
        judge_of(settings, "u", "c")
    with pytest.raises(SettingsError, match="'v' is not declared; declared: t, u"):
        judge_of(settings, "v", "c")
    lost = replace(settings, models={})
    with pytest.raises(SettingsError, match=r"tasks.t.judges.a.model = 'm' is not a model"):
        judge_of(lost, "t", "a")
