"""`stepdown night` starts a night, goes on with one that was broken off, and says how far it is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from distill.night import run as running
from distill.night.book import Book
from distill.night.machine import STARTED, Stage
from distill.night.run import look
from stepdown.cli import cli, main
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import load_settings
from tests.distill.night.rooms import TASK, Rooms, Scene, asked_before

SETTINGS = """
home = "{home}"
[night]
at = "02:30"
timezone = "Europe/Berlin"
[models.strong]
model = "large-1"
url = "http://127.0.0.1:9/v1"
[models.small]
model = "tiny-1"
url = "http://127.0.0.1:9/v1"
[tasks.bare]
small = "small"
[tasks.sums]
small = "small"
[tasks.sums.student]
base = "tiny-base"
min_new = 50
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(file)


@pytest.fixture
def ledger(file: str) -> Ledger:
    opened = Ledger(load_settings(file, environ={}).database_url)
    asked_before(opened, now() - timedelta(hours=1))
    return opened


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """The other rooms are fakes."""
    made = Scene(tmp_path)

    def with_fakes(*args: Any, **more: Any) -> str | None:
        return look(*args, **more, parts=Rooms.of(made))

    monkeypatch.setattr(running, "look", with_fakes)
    return made


def run(file: str, *arguments: str) -> Result:
    command = ["night", *arguments, "--settings", file]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def test_a_night_that_is_started_is_run_here_stage_by_stage(file: str, ledger: Ledger, scene: Scene) -> None:
    shown = run(file, "--task", TASK, "--now").output
    lines = shown.splitlines()
    assert lines[0].startswith(f"night {TASK}/")
    assert "train: begins" in lines
    assert any(line.startswith("canary: done: student ") for line in lines)
    assert "NIGHT  " in shown
    assert len(Book(ledger, TASK).nights()) == 1


def test_a_night_that_was_broken_off_is_gone_on_with(file: str, ledger: Ledger, scene: Scene) -> None:
    begun = run(file, "--task", TASK, "--now", "--detach")
    assert "is left to the worker" in begun.output
    (night,) = Book(ledger, TASK).nights()
    Book(ledger, TASK).note(night.id, Stage.LABEL, STARTED)
    shown = run(file, "--task", TASK, "--now").output
    assert f"night {night.id} is not over, and is gone on with" in shown
    assert "label: begins, for the 2. time" in shown
    assert Book(ledger, TASK).nights() == [night]


def test_status_before_the_first_night_says_when_that_is(file: str, ledger: Ledger) -> None:
    shown = run(file, "status", "--task", TASK).output
    assert "there was none yet" in shown
    assert "02:30 Europe/Berlin" in shown


def test_status_is_json_too_and_takes_its_options_before_or_after(
    file: str, ledger: Ledger, scene: Scene
) -> None:
    run(file, "--task", TASK, "--now")
    told = json.loads(run(file, "status", "--task", TASK, "--json").output)
    assert told["night"]["over"] is True
    assert {stage["stage"]: stage["state"] for stage in told["night"]["stages"]}["gate"] == "done"
    before = ["night", "--settings", file, "--task", TASK, "status", "--json"]
    assert json.loads(CliRunner().invoke(cli, before).output)["night"] == told["night"]
    assert run(file, "--task", TASK).output == run(file, "status", "--task", TASK).output


def test_a_task_that_distils_nothing_is_told_what_to_declare(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["night", "--settings", file, "--task", "bare", "--now"])
    assert "declare [tasks.bare.student]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["night", "status", "--settings", file, "--task", "nowhere"])
    assert "task 'nowhere' is not declared" in capsys.readouterr().err
