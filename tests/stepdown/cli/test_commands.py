"""The commands do to a real ledger what they say, and say what they did."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from stepdown.cli import cli, main
from stepdown.cli.options import model_values
from stepdown.cli.running import warn_of_suites, write_settings
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.registry import Registry
from stepdown.settings import load_settings
from workers import names
from workers.factory import create_celery

SETTINGS = """
home = "{home}"
[models.strong]
model = "big"
url = "http://127.0.0.1:9/v1"
[models.small]
model = "little"
url = "http://127.0.0.1:9/v1"
[tasks.default]
small = "small"
check = "number"
[tasks.default.checks.number]
kind = "number"
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(file)


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=text, catch_exceptions=False)


def registry(settings_file: str) -> Registry:
    return Registry(Ledger(load_settings(settings_file, environ={}).database_url))


def test_promote_and_rollback_move_the_task_and_leave_a_history(settings_file: str) -> None:
    assert "strong -> shadow" in run("promote", "--settings", settings_file, "--to", "shadow").output
    assert "shadow -> strong" in run("rollback", "--settings", settings_file).output
    history = registry(settings_file).history("default")
    assert [p.mode for p in history] == [Mode.SHADOW, Mode.STRONG]
    assert history[1].reason == "rollback of promotion 1"
    assert history[0].actor != "auto"


def test_routing_without_a_router_is_refused(settings_file: str) -> None:
    with pytest.raises(StepdownError, match="no such router"):
        run("promote", "--settings", settings_file, "--to", "route")
    assert registry(settings_file).history("default") == []


def test_routing_takes_the_newest_router(settings_file: str) -> None:
    kept = registry(settings_file).keep("router", "default", b"weights", settings={}, summary={})
    run("promote", "--settings", settings_file, "--to", "route")
    current = registry(settings_file).current("default")
    assert current is not None
    assert (current.mode, current.artifact) == (Mode.ROUTE, kept.id)


def test_rolling_back_again_goes_further_back(settings_file: str) -> None:
    for content in (b"a", b"b"):
        registry(settings_file).keep("router", "default", content, settings={}, summary={})
        run("promote", "--settings", settings_file, "--to", "route")
    run("promote", "--settings", settings_file, "--to", "shadow")
    for _ in range(2):
        run("rollback", "--settings", settings_file)
    (first, second, *_, last) = registry(settings_file).history("default")
    assert second.artifact != first.artifact == last.artifact
    assert last.mode is Mode.ROUTE
    assert "route -> strong" in run("rollback", "--settings", settings_file).output
    with pytest.raises(StepdownError, match="no promotion to roll back"):
        run("rollback", "--settings", settings_file)


def test_a_promotion_that_changes_nothing_is_refused(settings_file: str) -> None:
    run("promote", "--settings", settings_file, "--to", "shadow")
    with pytest.raises(StepdownError, match="in mode shadow already"):
        run("promote", "--settings", settings_file, "--to", "shadow")
    assert len(registry(settings_file).history("default")) == 1


@pytest.mark.parametrize("command", [("promote", "--to", "shadow"), ("rollback",)])
def test_a_task_that_is_not_declared_is_not_moved(settings_file: str, command: tuple[str, ...]) -> None:
    with pytest.raises(StepdownError, match=r"'defualt' is not declared; declared: default"):
        run(*command, "--settings", settings_file, "--task", "defualt")


def test_a_task_without_a_small_model_stays_on_strong(tmp_path: Path) -> None:
    alone = tmp_path / "alone.toml"
    alone.write_text(f'home = "{tmp_path}"\n[models.strong]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    with pytest.raises(StepdownError, match=r"no small model.*tasks\.default\.small"):
        run("promote", "--settings", str(alone), "--to", "shadow")


def test_there_is_nothing_to_roll_back_at_first(settings_file: str) -> None:
    with pytest.raises(StepdownError, match="no promotion to roll back"):
        run("rollback", "--settings", settings_file)


def test_status_names_mode_and_counts(settings_file: str) -> None:
    run("promote", "--settings", settings_file, "--to", "shadow", "--reason", "to look")
    output = run("status", "--settings", settings_file).output
    assert "task default: mode shadow" in output
    assert "to look" in output
    assert "0 requests, 0 calls, 0 labels" in output
    assert output.count("last heartbeat never") == len(names.ALWAYS)


def test_status_says_what_stands_between_a_task_and_a_router(settings_file: str, tmp_path: Path) -> None:
    def wanting(text: str) -> str:
        file = tmp_path / "other.toml"
        file.write_text(text.format(home=tmp_path / "home"))
        return run("status", "--settings", str(file)).output.partition("  next    ")[2].splitlines()[0]

    assert wanting('home = "{home}"').startswith("no model is declared: start `stepdown up")
    assert (
        wanting(SETTINGS.replace('small = "small"', "")) == "nothing to step down to: set tasks.default.small"
    )
    assert "declare a check" in wanting(SETTINGS.partition("check =")[0])
    assert wanting(SETTINGS) == "`stepdown report --task default` says what a router still needs"


def test_status_shows_the_beats_that_the_workers_leave(settings_file: str) -> None:
    assert "never" in run("status", "--settings", settings_file).output
    app = create_celery(load_settings(settings_file, environ={}))
    app.tasks[names.HEARTBEAT](names.LABELS)
    output = run("status", "--settings", settings_file).output
    assert re.search(r"worker of labels: last heartbeat 20\d\d-.* UTC, \d s ago", output)
    assert "worker of fits: last heartbeat never" in output


def test_answers_are_uploaded_from_standard_input(settings_file: str) -> None:
    line = '{"prompt": "6 x 7", "reference": 42}\n'
    assert "1 references added" in run("answers", "--settings", settings_file, "-", text=line).output
    assert "1 as before" in run("answers", "--settings", settings_file, "-", text=line).output


def test_label_and_fit_say_what_they_found(settings_file: str) -> None:
    assert "0 calls labelled" in run("label", "--settings", settings_file).output
    output = run("fit", "--settings", settings_file).output
    assert "no router fitted: 0 prompts" in output
    assert "promoted to shadow" in output


def test_label_says_where_no_check_is_declared(tmp_path: Path) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text(f'home = "{tmp_path}"\n[models.strong]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    assert "task 'default' declares no check" in run("label", "--settings", str(bare)).output


def test_a_picture_that_cannot_be_written_is_named(settings_file: str, tmp_path: Path) -> None:
    with pytest.raises(StepdownError, match=r"absent/x\.png.*No such file"):
        run("report", "--settings", settings_file, "--png", str(tmp_path / "absent/x.png"))


def test_an_unknown_task_is_refused_by_name(settings_file: str) -> None:
    with pytest.raises(StepdownError, match=r"'nothing' is not declared; declared: default"):
        run("label", "--settings", settings_file, "--task", "nothing")


def test_an_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--settings", "/no/such/file.toml"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("stepdown: settings file '/no/such/file.toml'")
    assert message.count("\n") == 1


def test_up_without_a_model_says_what_to_give(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.touch()
    with pytest.raises(StepdownError, match="--strong MODEL"):
        run("up", "--settings", str(empty), "--home", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ('[models.paid]\nmodel = "m"\napi_key_env = "NO_SUCH_KEY"', "'NO_SUCH_KEY' is not set"),
        ('[proxy]\nhost = "0.0.0.0"', "proxy.host = '0.0.0.0'"),
        ('[dashboard]\nhost = "0.0.0.0"', "dashboard.host = '0.0.0.0'"),
        ('[tasks.default.checks.other]\nkind = "numbr"', "'numbr'"),
    ],
)
def test_up_refuses_at_once_what_a_child_would_fail_by(settings_file: str, more: str, named: str) -> None:
    with Path(settings_file).open("a") as file:
        file.write(more)
    with pytest.raises(StepdownError, match=named):
        run("up", "--settings", settings_file, "--port", "0", "--dashboard-port", "0")


def test_what_runs_on_models_of_the_command_line_is_looked_at_without_naming_them(
    settings_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load_settings(settings_file, environ={})
    write_settings(settings)
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("STEPDOWN_HOME", settings.home)
    assert "REQUESTS" in run("report").output
    monkeypatch.setenv("STEPDOWN_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(StepdownError, match="set STEPDOWN_HOME to the folder"):
        run("report")


def test_config_explains_every_setting() -> None:
    output = run("config", "--settings", "/dev/null").output
    assert "proxy.port = 4000  (STEPDOWN_PROXY_PORT)" in output
    assert "tasks.NAME.max_quality_loss = 0.02" in output
    assert "unset" in output


def test_config_shows_the_values_in_force(settings_file: str) -> None:
    shown = msgspec.json.decode(run("config", "--settings", settings_file, "--values").output.encode())
    assert shown["models"]["strong"]["model"] == "big"


def test_a_key_and_its_hash_belong_together() -> None:
    output = run("key").output
    key, hashed = re.findall(r"^(?:key|hash)\s+(\S+)", output, re.MULTILINE)
    assert hashlib.sha256(key.encode()).hexdigest() == hashed


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("http://h:1/v1#m", {"url": "http://h:1/v1", "model": "m"}),
        (
            "openai/gpt-4o",
            {"url": "https://api.openai.com/v1", "model": "gpt-4o", "api_key_env": "OPENAI_API_KEY"},
        ),
        ("anthropic/claude", {"model": "anthropic/claude"}),
    ],
)
def test_a_model_is_named_in_one_word(spec: str, values: dict[str, str]) -> None:
    assert model_values(spec) == values


@pytest.mark.parametrize("spec", ["http://h:1/v1", "gpt-4o"])
def test_a_model_that_is_not_named_whole_is_refused(spec: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["up", "--strong", spec, "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert spec in result.output


def test_resolved_settings_have_an_absolute_home_and_are_read_back(
    settings_file: str, tmp_path: Path
) -> None:
    settings = load_settings(settings_file, environ={})
    file = write_settings(settings)
    assert load_settings(file, environ={"STEPDOWN_HOME": "/elsewhere"}) == settings
    assert file.stat().st_mode & 0o077 == 0, "the URL of a broker or a database may hold a password"


def test_a_suite_that_cannot_run_is_said_at_start_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stepdown.toml"
    model = '[models.strong]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n'
    file.write_text(model + '[tasks.default]\nsuites = ["nowhere.toml"]\n')
    warn_of_suites(load_settings(file, environ={}))
    said = capsys.readouterr().err
    assert "suite 'nowhere.toml' of task 'default' will not run" in said
    assert "No such file" in said
