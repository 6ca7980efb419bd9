"""Suites run by themselves: who is due, once; budgets, broken suites and models that are away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evals.harness import asking
from evals.harness.due import SuiteRun, run_due_suites
from evals.harness.keep import find_evaluation
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, Settings, TaskSettings
from tests import fakes
from tests.evals.harness.suites import adding, sums, write_suite
from tests.fakes import FakeModel, running

ON_BOTH_DATABASES = True


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeModel]]:
    monkeypatch.setattr("router.ask.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(asking, "AWAY_AFTER", 2)
    found = {name: FakeModel(adding()) for name in ("strong", "small", "new")}
    with running(*found.values()):
        yield found


def settings_of(models: dict[str, FakeModel], *suites: Path, **task: Any) -> Settings:
    task = {"small": "small", "suites": tuple(map(str, suites)), **task}
    return Settings(
        models={name: model.settings(f"model-{name}") for name, model in models.items()},
        tasks={"default": TaskSettings(**task)},
    )


def due(ledger: Ledger, settings: Settings, budget_s: float = 60.0) -> list[SuiteRun]:
    return run_due_suites(ledger, settings, {}, budget_s=budget_s)


def test_what_is_due_is_run_once(ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(4)))
    (run,) = due(ledger, settings)
    assert (run.task, run.due, run.error) == ("default", ["strong", "small"], None)
    assert run.evaluation is not None
    found = find_evaluation(ledger, run.evaluation)
    assert [column.name for column in found.columns] == ["strong", "small"]
    assert due(ledger, settings) == []
    assert len(models["strong"].asked) == 4


def test_a_new_model_runs_beside_the_old_ones_which_are_not_asked_again(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    suite = write_suite(tmp_path, sums(4))
    due(ledger, settings_of(models, suite))
    (run,) = due(ledger, settings_of(models, suite, challengers=("new",)))
    assert run.due == ["new"]
    found = find_evaluation(ledger, run.evaluation or "")
    assert [column.name for column in found.columns] == ["strong", "small", "new"]
    assert [c.column for c in found.comparisons if c.slice is None] == ["small", "new"]
    assert (len(models["strong"].asked), len(models["new"].asked)) == (4, 4)


@pytest.mark.parametrize("what", ["model", "suite"])
def test_another_model_behind_an_alias_and_another_suite_are_due(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, what: str
) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(4)))
    due(ledger, settings)
    if what == "model":
        small = msgspec.structs.replace(settings.models["small"], model="model-small-v2")
        settings = msgspec.structs.replace(settings, models={**settings.models, "small": small})
        expected = ["small"]
    else:
        write_suite(tmp_path, sums(5))
        expected = ["strong", "small"]
    (run,) = due(ledger, settings)
    assert run.due == expected


def test_a_dearer_price_makes_nothing_due(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(2)))
    due(ledger, settings)
    priced = {
        name: msgspec.structs.replace(model, input_usd_per_million=1.0, output_usd_per_million=1.0)
        for name, model in settings.models.items()
    }
    assert due(ledger, msgspec.structs.replace(settings, models=priced)) == []


def test_a_broken_suite_is_said_and_stops_no_other(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = write_suite(tmp_path / "broken", ["nonsense"])
    good = write_suite(tmp_path / "good", sums(2))
    missing = tmp_path / "missing.toml"
    runs = due(ledger, settings_of(models, broken, missing, good))
    assert [run.evaluation is not None for run in runs] == [False, False, True]
    assert "cases.jsonl:1: not JSON" in (runs[0].error or "")
    assert "missing.toml" in (runs[1].error or "")
    assert "nonsense" in caplog.text


def test_a_model_that_is_away_is_due_again_and_holds_up_no_other(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(4)))
    models["small"].behaviour = lambda _: fakes.error(500)
    (run,) = due(ledger, settings)
    assert "small; to be run again" in (run.error or "")
    found = find_evaluation(ledger, run.evaluation or "")
    assert [column.name for column in found.columns] == ["strong"]
    (again,) = due(ledger, settings)
    assert (again.due, again.evaluation) == (["small"], None)
    models["small"].behaviour = adding()
    (last,) = due(ledger, settings)
    assert (last.due, last.error) == (["small"], None)
    assert due(ledger, settings) == []
    assert len(models["strong"].asked) == 4


def test_a_model_that_refuses_a_case_has_run_the_suite(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["small"].behaviour = lambda _: fakes.error(400, "too long")
    settings = settings_of(models, write_suite(tmp_path, sums(2)))
    (run,) = due(ledger, settings)
    assert run.error is None
    assert due(ledger, settings) == []


def test_a_run_whose_time_is_up_goes_on_later(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(6)))
    clock = iter(range(1000))
    monkeypatch.setattr(asking, "CLOCK", lambda: float(next(clock)))
    monkeypatch.setattr("evals.harness.due.CLOCK", lambda: 0.0)
    (run,) = due(ledger, settings, budget_s=5.0)
    assert run.evaluation is None
    assert "the time was up" in (run.error or "")
    asked = len(models["strong"].asked) + len(models["small"].asked)
    assert 0 < asked < 12
    monkeypatch.setattr(asking, "CLOCK", lambda: 0.0)
    (again,) = due(ledger, settings)
    assert again.evaluation is not None
    assert len(models["strong"].asked) + len(models["small"].asked) == 12


def test_without_time_nothing_is_looked_at(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    assert due(ledger, settings_of(models, write_suite(tmp_path, sums(2))), budget_s=0.0) == []


def test_a_key_that_is_not_set_is_said(ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path) -> None:
    settings = settings_of(models, write_suite(tmp_path, sums(2)))
    keyed = ModelSettings(model="m", url=models["small"].url, api_key_env="NO_SUCH_KEY")
    (run,) = due(ledger, msgspec.structs.replace(settings, models={**settings.models, "small": keyed}))
    assert "NO_SUCH_KEY" in (run.error or "")
