"""`stepdown gate` shows what the gate said of the newest student, or of one that is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from distill.evaluation import keep_gate
from distill.gate import Calls, Economy, Evidence, Pairs, Rules, Timed, decide
from stepdown.cli import cli
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.settings import load_settings

SETTINGS = """
home = "{home}"
[models.strong]
model = "large-1"
url = "http://127.0.0.1:9/v1"
[tasks.default]
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(file)


def judged(settings_file: str, student: str, lost: int) -> None:
    """Keep the gate of a student that lost so many of two hundred prompts."""
    ones = np.ones(200)
    candidate = np.where(np.arange(200) < lost, 0.0, 1.0)
    evidence = Evidence(
        candidate=student,
        incumbent=None,
        sample=Pairs(candidate, ones, np.arange(200).astype(str), np.full(200, "all")),
        calls=Calls(200, 0),
        timed=Timed(ones, ones),
        economy=Economy(
            requests_per_day=0.0, coverage=None, coverage_from="no labels", strong=ones, small=ones
        ),
    )
    ledger = Ledger(load_settings(settings_file).database_url)
    keep_gate(ledger, "default", evidence, decide(evidence, Rules()))
    ledger.close()


def run(settings_file: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["gate", "default", "--settings", settings_file, *arguments])


def test_it_shows_the_newest_or_that_of_the_student_named(settings_file: str) -> None:
    judged(settings_file, "aaaa1111", 0)
    judged(settings_file, "bbbb2222", 60)
    newest = run(settings_file)
    assert newest.exit_code == 0
    assert "Student bbbb2222 against the small model as declared: not passed" in newest.output
    assert "fresh sample: 30.0% worse, and 2.0% is allowed" in newest.output
    assert "a loss of 2.0% is ruled out" in run(settings_file, "--student", "aaaa").output


def test_as_json_it_has_every_criterion(settings_file: str) -> None:
    judged(settings_file, "aaaa1111", 0)
    shown = json.loads(run(settings_file, "--json").stdout)
    assert shown["passed"] is False
    assert [one["name"] for one in shown["criteria"]] == [
        "fresh sample",
        "failed calls",
        "p95 latency",
        "net saving",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no gate yet"),
        (("--student", "cccc"), "to a student 'cccc'"),
        (("--student", "c"), "4 characters"),
    ],
)
def test_without_one_it_says_so(settings_file: str, arguments: tuple[str, ...], words: str) -> None:
    result = run(settings_file, *arguments)
    assert isinstance(result.exception, StepdownError)
    assert words in str(result.exception)
