"""`stepdown labels` says what is known of labellers, and says so where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepdown.cli import cli
from stepdown.ledger import Ledger
from stepdown.records import Verdict
from stepdown.settings import load_settings
from tests.records import a_label
from tests.traffic import answered

SETTINGS = """
home = "{home}"
[models.strong]
model = "big"
url = "http://127.0.0.1:9/v1"
[tasks.sums]
audit_share = 1.0
check = "number"
[tasks.sums.checks.number]
kind = "number"
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(file)


def run(settings_file: str, *arguments: str) -> Result:
    command = ["labels", "--settings", settings_file, "--task", "sums", *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def test_errors_agreement_contradictions_and_suspects_are_printed(settings_file: str) -> None:
    ledger = Ledger(load_settings(settings_file, environ={}).database_url)
    for n in range(4):
        made = answered(ledger, "sums", f"What is {n}?", "It is 7.", shadow="#### 7", reference="20")
        said = {"check:number": Verdict.BAD, "person:ana": Verdict.GOOD, "person:bo": Verdict.GOOD}
        for call in (made.call, made.shadow):
            ledger.append([a_label(subject=call, labeller=who, verdict=what) for who, what in said.items()])
    text = run(settings_file).output
    assert "LABELLERS" in text
    assert "check:number" in text
    assert "CONTRADICTIONS  8 answers" in text
    assert "AGREEMENT BETWEEN PEOPLE" in text
    assert "REFERENCES THAT BOTH MODELS CONTRADICT  4, hard or wrong; 4 of them are suspect" in text
    assert "both models answer the same and judges or people call both answers good" in " ".join(text.split())
    found = json.loads(run(settings_file, "--json").output)
    assert (found["contradicted"], found["suspects"]["found"]) == (8, 4)


def test_a_task_without_labels_is_told_so(settings_file: str) -> None:
    said = run(settings_file).output
    assert said.startswith("nothing of task 'sums' is labelled yet")
    assert "`stepdown report --task sums`" in said
