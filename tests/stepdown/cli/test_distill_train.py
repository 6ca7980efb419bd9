"""`stepdown distill train`: what it says of a training before, while and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from stepdown.cli.distill import distill
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings.distilling import TrainerSettings
from stepdown.students import STUDENT, served_name
from tests.distill.training.fake_trainer import fake_python
from tests.distill.training.models import a_base
from tests.distill.training.worlds import TASK, a_dataset, pairs, settings_for

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, ledger: Ledger) -> Run:
    """Runs the command in a world with a trainer that does as it is told."""
    rent = TrainerSettings(usd_per_hour=36.0, memory_gb=4, tokens_per_s=10.0)
    python = fake_python(tmp_path / "trainer", "done")
    settings = settings_for(tmp_path, python, a_base(tmp_path / "base"), trainer=rent, rank=4)
    file = tmp_path / "settings.json"
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(settings, database=str(ledger.engine.url))))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(distill, ["train", TASK, "--settings", str(file), *arguments])

    return invoke


def test_a_dry_run_says_what_it_would_take_and_trains_nothing(run: Run, ledger: Ledger) -> None:
    a_dataset(ledger, pairs())
    result = run("--dry-run")
    assert result.exit_code == 0, result.output
    for said in (
        "8 examples, 480 tokens in 2 steps",
        "by trainer.tokens_per_s",
        "on cpu (2 cores)",
        "cost      $",
    ):
        assert said in result.output
    assert Registry(ledger).newest(STUDENT, TASK) is None


def test_a_dry_run_of_what_cannot_fit_fails_with_the_remedy(run: Run, ledger: Ledger) -> None:
    a_dataset(ledger, pairs())
    result = run("--dry-run", "--minutes", "0.1")
    assert result.exit_code != 0
    assert "what would fit" in str(result.exception)


def test_it_trains_on_the_newest_dataset_and_names_the_student(run: Run, ledger: Ledger) -> None:
    a_dataset(ledger, pairs()[:4])
    newest = a_dataset(ledger, pairs())
    result = run()
    assert result.exit_code == 0, result.output
    student = Registry(ledger).newest(STUDENT, TASK)
    assert student is not None
    assert student.parents == (newest.id,)
    assert f"student {student.id}\n  served as {served_name(student.id)}" in result.output
    assert "4 of 4 steps" in result.output
    assert "validation loss 0.2500 at step 4" in result.output


def test_without_a_dataset_it_says_how_to_build_one(run: Run, ledger: Ledger) -> None:
    result = run()
    assert "`stepdown distill dataset colours` builds one" in str(result.exception)
