"""`stepdown eval` and `stepdown trial` as a user runs them: real processes, exit codes, a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from evals.harness.form import from_json
from stepdown.cli import cli, main
from stepdown.cli.suites import STOPPED
from stepdown.ledger import Ledger, schema
from tests.evals.harness.suites import adding, asked_text, sums, write_suite
from tests.fakes import Asked, FakeModel, Reply, plain, running
from tests.processes import Process, wait_until
from tests.traffic import answered

ROOT = Path(__file__).parents[3]
RECORDED = [
    "eval",
    "run",
    str(ROOT / "bench" / "suites" / "recorded.toml"),
    "--recording",
    str(ROOT / "bench" / "recordings" / "qwen-coder.jsonl.gz"),
]


@pytest.fixture
def models() -> Iterator[dict[str, FakeModel]]:
    found = {name: FakeModel(adding()) for name in ("strong", "small")}
    with running(*found.values()):
        yield found


@pytest.fixture
def settings_file(models: dict[str, FakeModel], tmp_path: Path) -> str:
    lines = [f'home = "{tmp_path / "home"}"']
    for name, model in models.items():
        lines += [f"[models.{name}]", f'model = "model-{name}"', f'url = "{model.url}"']
        lines += ["input_usd_per_million = 1.0", "output_usd_per_million = 10.0"]
    lines += ["[tasks.default]", 'small = "small"', 'check = "number"']
    lines += ["[tasks.default.checks.number]", 'kind = "number"']
    file = tmp_path / "stepdown.toml"
    file.write_text("\n".join(lines))
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def exit_code(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def test_the_recorded_suite_runs_from_a_clean_clone_without_settings_or_keys(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("STEPDOWN", "OPENAI"))}
    command = [sys.executable, "-m", "stepdown", *RECORDED, "--limit", "80"]
    command += ["--models", "recorded-strong,recorded-small", "--html", "report.html", "--json", "run.json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no progress bar where nobody watches"
    assert "AGAINST recorded-strong" in done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    found = from_json((tmp_path / "run.json").read_bytes(), "run.json")
    strong, small = found.columns
    assert (strong.scored, small.scored) == (80, 80)
    assert (strong.quality.value or 0) > (small.quality.value or 0) > 0.3


def test_the_form_of_the_json_is_as_documented(settings_file: str, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", sums(3))
    file = tmp_path / "run.json"
    run("eval", "run", str(suite), "--settings", settings_file, "--json", str(file))
    document = json.loads(file.read_bytes())
    assert document["form"] == 1
    described = (ROOT / "docs" / "suites.md").read_text()
    for part in (document, document["columns"][0], document["comparisons"][0], document["cases"][0]):
        for name in part:
            assert f"`{name}`" in described, name


def test_an_evaluation_is_run_listed_shown_and_compared(
    settings_file: str, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    suite = str(write_suite(tmp_path / "suite", sums(40)))
    at = ("--settings", settings_file)
    first = run("eval", "run", suite, *at)
    assert "80 answers asked for now" in first.output
    name = first.output.split("evaluation ")[-1].strip()
    assert name[:12] in run("eval", "list", *at).output
    assert "QUALITY, COST AND TIME" in run("eval", "show", name[:10], *at).output
    assert run("eval", "diff", "newest", "newest", *at).exit_code == 0
    models["small"].behaviour = adding(wrong=lambda n: n < 12)
    worse = Path(settings_file)
    worse.write_text(worse.read_text().replace("model-small", "model-small-v2"))
    run("eval", "run", suite, *at)
    assert len(models["strong"].asked) == 40, "strong's answers were in the cache"
    diff = run("eval", "diff", "previous", "newest", *at)
    assert diff.exit_code == 1
    assert "REGRESSION: small" in diff.output
    assert run("eval", "diff", "newest", "previous", *at).exit_code == 0
    assert run("eval", "diff", "previous", "newest", *at, "--models", "strong").exit_code == 0
    assert run("eval", "diff", "previous", "newest", *at, "--margin", "0.5").exit_code == 0


def test_files_are_compared_without_settings_or_a_ledger(settings_file: str, tmp_path: Path) -> None:
    suite = str(write_suite(tmp_path / "suite", sums(5)))
    file = str(tmp_path / "run.json")
    run("eval", "run", suite, "--settings", settings_file, "--json", file)
    done = subprocess.run(
        [sys.executable, "-m", "stepdown", "eval", "diff", file, file],
        cwd=tmp_path / "suite",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "no significant regression" in done.stdout) == (0, True)
    assert not (tmp_path / "suite" / ".stepdown").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--models", "strong,smal"), "'smal' is not declared"),
        (("--baseline", "nobody"), "not among the models"),
        (("--policy", "newest"), "no newest router"),
        (("--task", "nobody"), "'nobody' is not declared"),
        (("--check", "nobody"), "'nobody' is not declared"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    settings_file: str,
    tmp_path: Path,
    arguments: tuple[str, ...],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = str(write_suite(tmp_path / "suite", sums(2)))
    assert exit_code("eval", "run", suite, "--settings", settings_file, *arguments) == 2
    assert why in capsys.readouterr().err


def test_a_bad_line_stops_the_run_unless_it_is_skipped(
    settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = str(write_suite(tmp_path / "suite", [*sums(2), "not json"]))
    assert exit_code("eval", "run", suite, "--settings", settings_file) == 2
    assert "cases.jsonl:3: not JSON" in capsys.readouterr().err
    done = run("eval", "run", suite, "--settings", settings_file, "--skip-bad-lines")
    assert done.exit_code == 0
    assert "LINES LEFT OUT: 1" in done.output


def test_models_that_answer_nothing_end_with_exit_code_2(tmp_path: Path, settings_file: str) -> None:
    away = Path(settings_file)
    suite = write_suite(tmp_path / "suite", ["{}"])
    (suite.parent / "cases.jsonl").write_text('{"prompt": "x + x?", "reference": "not a number"}\n')
    assert exit_code("eval", "run", str(suite), "--settings", str(away)) == 2


def test_traffic_is_frozen_and_run(settings_file: str, models: dict[str, FakeModel], tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")
    for number in range(5):
        answered(ledger, "default", f"{number} + {number}?", "?", reference=str(2 * number))
    folder = str(tmp_path / "frozen")
    assert "5 of 5 distinct prompts" in run("eval", "freeze", "--settings", settings_file, folder).output
    done = run("eval", "run", f"{folder}/suite.toml", "--settings", settings_file)
    assert done.exit_code == 0
    assert done.output.count("100.0%") >= 2


def brief_ones_are_right(asked: Any) -> Reply:
    number = int(asked_text(asked).split()[0])
    told = (
        asked.json["messages"][0].get("role") == "system" and "brief" in asked.json["messages"][0]["content"]
    )
    return plain(f"Answer: {2 * number + (0 if told or number % 2 else 1)}")


def test_a_trial_names_the_best_variant_and_its_settings(
    settings_file: str, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["strong"].behaviour = brief_ones_are_right
    suite = str(write_suite(tmp_path / "suite", sums(40)))
    (tmp_path / "brief.txt").write_text("Be brief.")
    (tmp_path / "long.txt").write_text("Say all that you know.")
    prompts = f"{tmp_path / 'brief.txt'},{tmp_path / 'long.txt'}"
    done = run("trial", suite, "--settings", settings_file, "--model", "strong", "--prompts", prompts)
    assert done.exit_code == 0
    assert "The best is brief" in done.output
    assert 'system = "Be brief."' in done.output
    assert "120 answers asked for now" in done.output
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")
    table = schema.cached_answers
    assert {row.purpose for row in ledger.rows(select(table.c.purpose).distinct())} == {"trial"}
    alone = run(
        "trial",
        suite,
        "--settings",
        settings_file,
        "--model",
        "strong",
        "--prompts",
        str(tmp_path / "long.txt"),
    )
    assert "No variant is significantly better" in alone.output
    assert len(models["strong"].asked) == 120


def test_a_run_that_is_killed_is_taken_up_and_asks_nothing_twice(
    settings_file: str, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    for model in models.values():
        model.behaviour = lambda asked: replace(adding()(asked), pause_s=0.05)
    suite = str(write_suite(tmp_path / "suite", sums(60)))
    command = [sys.executable, "-m", "stepdown", "eval", "run", suite, "--settings", settings_file]
    command += ["--concurrency", "2"]
    count = select(func.count()).select_from(schema.cached_answers)
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")
    with Process(command, tmp_path / "log") as process:
        wait_until("twenty answers are kept", lambda: ledger.rows(count)[0][0] >= 20)
        process.kill_group()
    kept = int(ledger.rows(count)[0][0])
    assert 20 <= kept < 120
    with Process(command, tmp_path / "log") as process:
        assert process.popen.wait(120) == 0
    assert int(ledger.rows(count)[0][0]) == 120
    asked = sum(len(model.asked) for model in models.values())
    assert 120 <= asked <= 124, "at most what was under way at the kill is asked for again"
    assert (
        f"{120 - kept} answers asked for now, {kept} taken from the cache" in (tmp_path / "log").read_text()
    )


def test_a_run_that_is_stopped_says_that_it_can_be_taken_up(
    settings_file: str, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    def slower_and_slower(asked: Asked) -> Reply:
        is_begun = len(models["strong"].asked) >= 10
        return replace(adding()(asked), pause_s=20.0 if is_begun else 0.1)

    for model in models.values():
        model.behaviour = slower_and_slower
    suite = str(write_suite(tmp_path / "suite", sums(60)))
    command = [sys.executable, "-m", "stepdown", "eval", "run", suite, "--settings", settings_file]
    with Process(command, tmp_path / "log") as process:
        wait_until("ten questions are asked", lambda: len(models["strong"].asked) >= 10)
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(30) == 2
    said = (tmp_path / "log").read_text().strip()
    assert said == f"stepdown: {STOPPED}", "and nothing of what was under way"
