"""`stepdown distill practise` and `stepdown distill export`, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from stepdown.cli import cli
from stepdown.errors import TrainingError
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, Settings
from tests.distill.export.scene import a_student, settings_in, way
from tests.distill.practice.scene import TASK, Scene, Sums, settings_of
from tests.fakes import FakeModel, running


def run(settings: Settings, *arguments: str) -> str:
    file = Path(settings.home) / "settings.json"
    file.write_bytes(msgspec.json.encode(settings))
    done = CliRunner().invoke(
        cli, ["distill", *arguments, "--settings", str(file)], catch_exceptions=False, standalone_mode=False
    )
    return done.output


def test_practise_has_the_student_named_practise_and_says_what_came_of_it(tmp_path: Path) -> None:
    fake = FakeModel(Sums({"hard": [1]}))
    with running(fake):
        settings = settings_of(tmp_path, fake.settings("tiny"))
        ledger = Ledger(settings.database_url)
        scene = Scene(ledger)
        scene.answered(scene.request("hard", "a hard sum"), good=False)
        scene.dataset({"train": ["hard"]})
        student = scene.student("s1")
        said = run(settings, "practise", TASK, "--student", student.id)
        again = run(settings, "practise", TASK, "--student", student.id)
    assert "practice " in said.splitlines()[0]
    assert "1 of 4 samples right, 1 kept, of 100.0%" in said
    assert again.startswith("no round: this student has practised this dataset")
    assert len(fake.asked) == 4
    ledger.close()


def test_what_is_no_student_of_the_task_is_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ModelSettings(model="tiny", url="http://127.0.0.1:9/v1"))
    ledger = Ledger(settings.database_url)
    dataset = Scene(ledger).dataset({"train": []})
    for command in (["practise"], ["export", "--variant", "merged"]):
        with pytest.raises(TrainingError, match=f"is a dataset of task '{TASK}', no student of '{TASK}'"):
            run(settings, *command, TASK, "--student", dataset.id)
    ledger.close()


def test_export_copies_the_student_trained_last_to_a_new_folder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "home")
    way(tmp_path / "home", "works")
    ledger = Ledger(settings.database_url)
    a_student(ledger, settings)
    out = tmp_path / "out"
    for _ in range(2):
        said = run(settings, "export", TASK, "--variant", "merged")  # the second time the student is not it
        assert "(merged), served as stepdown-student-" in said
    run(settings, "export", TASK, "--variant", "merged", "--out", str(out))
    assert (out / "model.safetensors").read_text().startswith("merged of")
    ledger.close()
