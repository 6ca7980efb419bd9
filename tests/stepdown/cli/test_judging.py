"""`stepdown judge` and `stepdown judge-audit`: what they print and refuse, and what a kill costs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from evals.judge.attacks import ATTACKS
from stepdown.cli import cli
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from tests.evals.judge.endpoint import Provider, serving
from tests.evals.judge.judging import judge_calls, labels, longer_wins, settings_for, sweep
from tests.processes import Process, wait_until
from tests.traffic import answered


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(Provider()) as made:
        yield made


@pytest.fixture
def settings(provider: Provider, tmp_path: Path) -> Settings:
    return settings_for(provider, concurrency=2, home=str(tmp_path))


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> str:
    path = tmp_path / "settings.json"
    path.write_bytes(msgspec.json.encode(settings))
    return str(path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    opened = Ledger(settings.database_url)
    yield opened
    opened.close()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_judge_says_what_it_did(ledger: Ledger, file: str) -> None:
    answered(ledger, "sums", "1?", "It is one.", shadow="one")
    answered(ledger, "sums", "2?", "two", shadow="two")
    said = run("judge", "--task", "sums", "--settings", file)
    assert said == "2 judged (1 ties), 0 unscored; $0.000220\n"
    assert run("judge", "--task", "sums", "--judge", "j", "--settings", file).startswith("0 judged")


def test_judge_says_which_judge_was_left_alone(ledger: Ledger, provider: Provider, file: str) -> None:
    for number in range(20):
        answered(ledger, "sums", f"{number}?", "It is one.", shadow="one")
    provider.refuses["POST /chat/completions"] = 401
    said = run("judge", "--task", "sums", "--settings", file)
    assert "to be asked again" in said
    assert "judge 'j' of task 'sums' did not answer" in said


def test_judge_audit_prints_the_flip_rate(ledger: Ledger, file: str) -> None:
    for number in range(3):
        answered(ledger, "sums", f"{number}?", "It is a longer one.", shadow=f"one {number}")
    run("judge", "--task", "sums", "--settings", file)
    said = run("judge-audit", "--task", "sums", "--judge", "j", "--pairs", "2", "--settings", file)
    assert "2 judged pairs" in said
    assert f"n = {2 * len(ATTACKS)}" in said


@pytest.mark.parametrize("command", ["judge", "judge-audit"])
def test_an_unknown_judge_is_one_line(ledger: Ledger, file: str, command: str) -> None:
    with pytest.raises(SettingsError, match="has no judge 'k'; declared: j"):
        run(command, "--task", "sums", "--judge", "k", "--settings", file)


def test_a_task_without_judges_is_told_how_to_declare_one(settings: Settings, tmp_path: Path) -> None:
    task = msgspec.structs.replace(settings.tasks["sums"], judges={})
    path = tmp_path / "none.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(settings, tasks={"sums": task})))
    with pytest.raises(SettingsError, match=r"add \[tasks\.sums\.judges\.NAME\]"):
        run("judge", "--task", "sums", "--settings", str(path))


def test_a_judge_killed_in_the_middle_pays_twice_only_for_what_was_under_way(
    ledger: Ledger, settings: Settings, provider: Provider, file: str, tmp_path: Path
) -> None:
    pairs = [answered(ledger, "sums", f"{n}?", f"It is {n}.", shadow=f"{n}") for n in range(20)]

    def slowly(material: dict[str, str]) -> str:
        time.sleep(0.02)
        return longer_wins(material)

    provider.judging = slowly
    command = [sys.executable, "-m", "stepdown", "judge", "--task", "sums", "--settings", file]
    with Process(command, tmp_path / "judge.log") as process:
        wait_until("a third is asked", lambda: len(provider.chats) >= 13)
        process.kill_group()
    kept = len(judge_calls(ledger))
    assert 11 <= kept < 40
    sweep(ledger, settings)
    assert all(labels(ledger)[pair.call] == ("good", 1.0) for pair in pairs)
    assert len(judge_calls(ledger)) == 40
    assert len(provider.chats) <= 40 + settings.worker.concurrency
