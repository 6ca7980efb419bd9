"""`stepdown slices` clusters, keeps what it made, and prints what a person can act on."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from stepdown.cli import cli
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import load_settings
from tests.evals.ledgers import Writer
from tests.evals.slices.prompts import texts_of

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
max_quality_loss = 0.1
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    writer = Writer(open_ledger(str(file)))
    with writer.together():
        for kind, good in (("sql", True), ("sentiment", False)):
            for text in texts_of(kind, 60):
                writer.pair(text, True, good, costs=(100, 10), kind=kind)
    return str(file)


def open_ledger(settings_file: str) -> Ledger:
    return Ledger(load_settings(settings_file, environ={}).database_url)


def run(settings_file: str, *arguments: str) -> Result:
    arguments = ("slices", "--settings", settings_file, *arguments)
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_the_slices_are_made_once_kept_and_shown(settings_file: str) -> None:
    first = run(settings_file)
    assert first.exit_code == 0
    assert "may step down" in first.output
    assert run(settings_file).output == first.output
    assert Registry(open_ledger(settings_file)).count("slices", "default") == 1


def test_rebuild_takes_new_traffic_in(settings_file: str) -> None:
    run(settings_file)
    Writer(open_ledger(settings_file), numbers=count(1000)).request("Something quite new, never asked before")
    run(settings_file)
    assert Registry(open_ledger(settings_file)).count("slices", "default") == 1
    run(settings_file, "--rebuild")
    assert Registry(open_ledger(settings_file)).count("slices", "default") == 2


@pytest.mark.parametrize("by", ["cluster", "tag", "language", "length"])
def test_json_has_a_row_for_each_slice(settings_file: str, by: str) -> None:
    report = json.loads(run(settings_file, "--by", by, "--json").output)
    assert report["by"] == by
    assert sum(row["requests"] for row in report["rows"]) == 120


def test_tags_show_which_kind_may_step_down(settings_file: str) -> None:
    rows = {
        row["name"]: row for row in json.loads(run(settings_file, "--by", "tag", "--json").output)["rows"]
    }
    assert rows["sql"]["verdict"]["may"] == "yes"
    assert rows["sentiment"]["verdict"]["may"] == "no"


def test_examples_are_prompts_of_the_traffic(settings_file: str) -> None:
    shown = run(settings_file, "--examples").output.partition("EXAMPLES")[2]
    assert "CREATE TABLE" in shown


def test_clusters_alone_are_rebuilt(settings_file: str) -> None:
    with pytest.raises(click.UsageError, match="--by tag"):
        cli.main(["slices", "--settings", settings_file, "--by", "tag", "--rebuild"], standalone_mode=False)


def test_an_undeclared_task_is_refused(settings_file: str) -> None:
    with pytest.raises(StepdownError, match="'defualt' is not declared"):
        run(settings_file, "--task", "defualt")
