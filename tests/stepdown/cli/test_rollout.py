"""The commands by which people look at a student's rollout, move it, and end it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from distill.rollout.look import look
from stepdown.cli import cli
from stepdown.errors import ArtifactError, StepdownError
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import load_settings
from tests.distill.rollout.traffic import CLOCK, TASK, Traffic, a_router, a_student
from tests.distill.rollout.traffic import promote as put

SETTINGS = """
home = "{home}"
proxy.reload_s = 0.01
[models.strong]
model = "big"
url = "http://127.0.0.1:9/v1"
[models.small]
model = "little"
url = "http://127.0.0.1:9/v1"
[tasks.default]
small = "small"
promotion = "manual"
student.base = "tiny"
student.shadow_calls = 10
[tasks.lonely]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "stepdown.toml"
    path.write_text(SETTINGS.format(home=tmp_path / "home"))
    monkeypatch.setattr("stepdown.registry.now", CLOCK.now)
    return str(path)


def run(command: str, file: str, *arguments: str) -> str:
    done = CliRunner().invoke(cli, [command, "--settings", file, *arguments], catch_exceptions=False)
    if isinstance(done.exception, SystemExit) and done.exit_code:
        raise click.UsageError(done.output)
    return done.output


def ledger_of(file: str) -> Ledger:
    return Ledger(load_settings(file, environ={}).database_url)


def test_a_person_moves_a_student_step_by_step_and_takes_it_out(file: str) -> None:
    ledger = ledger_of(file)
    put(ledger, Deployed(Mode.SHADOW))
    student = a_student(ledger)
    router = a_router(ledger, student).id
    assert f"on trial: {student} (shadow)" in run("promote", file, "--student", student)
    assert "(canary of 30%)" in run("promote", file, "--student", student, "--share", "0.3")
    assert f"student {student}" in run("promote", file, "--student", student, "--live")
    history = Registry(ledger).history(TASK)
    assert [p.candidate_share for p in history] == [0, 0, 0.3, 0]
    assert history[1].deployed == Deployed(Mode.SHADOW, None, None, student, router)
    assert history[-1].deployed == Deployed(Mode.ROUTE, router, student)
    assert "route -> shadow" in run("rollback", file)
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW)
    assert "(shadow)" in run("promote", file, "--student", student)  # a person may begin it again


def test_rollback_ends_a_canary_at_once(file: str) -> None:
    ledger = ledger_of(file)
    student = a_student(ledger)
    put(ledger, Deployed(Mode.SHADOW, None, None, student, a_router(ledger, student).id, 0.5))
    assert "shadow" in run("rollback", file)
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW)


def test_status_says_how_far_a_student_is(file: str) -> None:
    ledger, settings = ledger_of(file), load_settings(file, environ={})
    assert "rollout" not in run("status", file)
    student = a_student(ledger)
    run("promote", file, "--student", student)
    Traffic(ledger).shadow(12)
    shown = run("status", file)
    assert f"rollout {student[:12]} shadow -> 10%: it has no router" in shown
    run("promote", file, "--student", student, "--router", a_router(ledger, student).id)
    assert "12 labelled shadow calls of 10; `stepdown promote` makes it" in run("status", file)
    assert look(ledger, settings, TASK) is None
    run("promote", file, "--student", student, "--share", "0.5")
    Traffic(ledger, numbers=100).canary(20, failing=1.0)
    shown = run("status", file)
    assert f"rollout {student[:12]} canary of 50% -> live: alarm: failed calls" in shown
    assert "rollout control: " in shown
    assert "rollout ALARM failed calls" in shown
    assert "is rolled back" in (look(ledger, settings, TASK) or "")
    assert "rollout" not in run("status", file).replace("is rolled back", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--to", "shadow", "--student", "s"),
        ("--to", "shadow", "--live"),
        ("--to", "shadow", "--share", "0.5"),
        ("--student", "s", "--live", "--share", "0.5"),
        ("--student", "s", "--share", "1"),
        ("--student", "s", "--share", "0"),
    ],
)
def test_what_makes_no_sense_is_refused(file: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        run("promote", file, *arguments)
    assert Registry(ledger_of(file)).history(TASK) == []


def test_only_a_student_of_the_task_with_a_router_of_its_own_goes_on(file: str) -> None:
    ledger = ledger_of(file)
    student, other = a_student(ledger), a_student(ledger, "two")
    with pytest.raises(ArtifactError, match="'nothing'"):
        run("promote", file, "--student", "nothing")
    with pytest.raises(StepdownError, match="no student of 'default'"):
        run("promote", file, "--student", a_router(ledger, None).id)
    with pytest.raises(StepdownError, match="no router is fitted"):
        run("promote", file, "--student", student, "--live")
    with pytest.raises(StepdownError, match="is no router of task"):
        run("promote", file, "--student", student, "--live", "--router", a_router(ledger, other).id)
    with pytest.raises(StepdownError, match=r"tasks\.lonely\.small"):
        run("promote", file, "--task", "lonely", "--student", student)
    run("promote", file, "--student", student)
    with pytest.raises(StepdownError, match="is there already"):
        run("promote", file, "--student", student)
    with pytest.raises(StepdownError, match="is on trial on task 'default'"):
        run("promote", file, "--student", other)
