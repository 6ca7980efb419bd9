"""What trainings leave on the disk goes once nobody takes it up again, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.training import train
from distill.training.files import CHECKPOINTS, PARTIAL, PLAN, RESULT
from distill.training.leftover import tidy
from stepdown.errors import TrainingError
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.students import Store, manifest_of
from tests.distill.training.fake_trainer import fake_python
from tests.distill.training.models import a_base
from tests.distill.training.worlds import TASK, a_dataset, pairs, settings_for

ELSE = "another dataset"


@pytest.fixture
def dataset(ledger: Ledger) -> Artifact:
    return a_dataset(ledger, pairs(), pairs()[:2])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    python = fake_python(tmp_path / "trainer", "crash")
    return settings_for(tmp_path, python, a_base(tmp_path / "base"), rank=4)


def broken_off(ledger: Ledger, settings: Settings, dataset: Artifact) -> Path:
    """The folder of a run that failed after its second checkpoint."""
    with pytest.raises(TrainingError, match="goes on at step 2"):
        train(ledger, settings, TASK, dataset)
    (folder,) = settings.students_folder.iterdir()
    (folder / PARTIAL).mkdir()
    return folder


def test_a_run_keeps_its_checkpoints_while_its_dataset_is_the_newest_or_is_wanted(
    ledger: Ledger, settings: Settings, dataset: Artifact
) -> None:
    folder = broken_off(ledger, settings, dataset)
    tidy(ledger, settings, ELSE)
    assert len(list((folder / CHECKPOINTS).iterdir())) == 2, "its dataset is the newest"
    newer = a_dataset(ledger, pairs()[3:])
    tidy(ledger, settings, dataset.id)
    assert len(list((folder / CHECKPOINTS).iterdir())) == 2, "somebody trains on the old one"
    tidy(ledger, settings, newer.id)
    assert not (folder / CHECKPOINTS).exists()
    assert not (folder / PARTIAL).exists()
    assert (folder / PLAN).is_file()


def test_a_run_that_is_done_keeps_what_it_made_alone(
    ledger: Ledger, settings: Settings, dataset: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "trainer" / "scenario").write_text("done")
    made = manifest_of(train(ledger, settings, TASK, dataset))
    folder = Store(settings.students_folder).path(made).parent
    (folder / CHECKPOINTS / "checkpoint-4").mkdir(parents=True)  # as a kill at the very end leaves it
    a_dataset(ledger, pairs()[3:])
    tidy(ledger, settings, ELSE)
    assert not (folder / CHECKPOINTS).exists()
    assert (folder / RESULT).is_file()
    assert Store(settings.students_folder).complaint(made) is None


def test_of_a_plan_that_cannot_be_read_the_checkpoints_stay(
    ledger: Ledger, settings: Settings, dataset: Artifact
) -> None:
    """Another version of Stepdown may read it, and may go on with its run."""
    folder = broken_off(ledger, settings, dataset)
    (folder / PLAN).write_text('{"of": "another version"}')
    (folder / "train.jsonl").write_text("what users wrote")
    a_dataset(ledger, pairs()[3:])
    tidy(ledger, settings, ELSE)
    assert (folder / CHECKPOINTS).is_dir()
    assert not (folder / "train.jsonl").exists()


def test_what_cannot_be_removed_keeps_no_other_run_from_being_tidied(
    ledger: Ledger, settings: Settings, dataset: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    folder = broken_off(ledger, settings, dataset)
    before = settings.students_folder / "0"
    (before / PLAN).mkdir(parents=True)
    (before / CHECKPOINTS).mkdir()
    a_dataset(ledger, pairs()[3:])
    tidy(ledger, settings, ELSE)
    assert f"what run 0 left in {before} cannot be removed" in caplog.text
    assert not (folder / CHECKPOINTS).exists()
