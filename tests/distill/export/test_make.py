"""Exporting, with a stand-in for the trainer's Python."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from distill.export import export, variants_of
from stepdown.errors import OutOfBudget, TrainingError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.students import Store, manifest_of
from tests.distill.export.scene import TASK, a_student, runs, settings_in, way
from tests.processes import is_running, wait_until

ON_BOTH_DATABASES = True


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    made = settings_in(home)
    way(home, "works")
    return made


def expenses(ledger: Ledger) -> list[tuple[str, str, float, int | None]]:
    table = schema.expenses
    return [tuple(row) for row in ledger.rows(table.select().with_only_columns(
        table.c.kind, table.c.subject, table.c.seconds, table.c.cost_usd_micros
    ))]  # fmt: skip


def files(settings: Settings, student: Artifact) -> str | None:
    return Store(settings.students_folder).complaint(manifest_of(student))


def test_a_variant_is_a_student_of_its_own_whose_only_parent_is_the_one_trained(
    ledger: Ledger, settings: Settings
) -> None:
    trained = a_student(ledger, settings)
    made = export(ledger, settings, TASK, trained, "merged")
    manifest = manifest_of(made)
    assert made.id != trained.id
    assert made.parents == (trained.id,)
    assert (manifest.variant, manifest.rank, manifest.run, manifest.base) == ("merged", 0, "run-1", "base")
    assert files(settings, made) is None
    assert made.summary["likeness"]["same_top"] == 9
    assert [one.id for one in variants_of(ledger, TASK, trained)] == [made.id]


def test_the_form_in_which_it_was_trained_is_the_student_itself(ledger: Ledger, settings: Settings) -> None:
    trained = a_student(ledger, settings)
    assert export(ledger, settings, TASK, trained, "adapter") == trained
    assert expenses(ledger) == []


def test_nothing_is_exported_twice_and_every_variant_is_listed_in_order(
    ledger: Ledger, settings: Settings, home: Path
) -> None:
    trained = a_student(ledger, settings)
    first = [export(ledger, settings, TASK, trained, variant) for variant in ("gguf", "fp8", "merged")]
    again = [export(ledger, settings, TASK, trained, variant) for variant in ("gguf", "fp8", "merged")]
    assert [one.id for one in again] == [one.id for one in first]
    assert runs(home) == ["gguf", "fp8", "merged"]
    listed = [manifest_of(one).variant for one in variants_of(ledger, TASK, trained)]
    assert listed == ["merged", "fp8", "gguf"]


def test_a_variant_whose_files_are_gone_is_made_again_and_is_the_same(
    ledger: Ledger, settings: Settings
) -> None:
    trained = a_student(ledger, settings)
    made = export(ledger, settings, TASK, trained, "int8")
    shutil.rmtree(settings.students_folder / manifest_of(made).folder)
    assert export(ledger, settings, TASK, trained, "int8").id == made.id
    assert files(settings, made) is None


def test_a_merged_checkpoint_that_is_there_is_not_merged_again(ledger: Ledger, settings: Settings) -> None:
    trained = a_student(ledger, settings)
    merged = export(ledger, settings, TASK, trained, "merged")
    made = export(ledger, settings, TASK, trained, "gguf")
    folder = settings.students_folder / manifest_of(made).folder
    source = settings.students_folder / manifest_of(merged).folder
    assert (folder / "model.safetensors").read_text() == f"gguf of {source}"


def trained_files(settings: Settings) -> Path:
    return settings.students_folder / "trained"


def test_what_it_took_is_on_the_bill_of_the_student(ledger: Ledger, settings: Settings) -> None:
    trained = a_student(ledger, settings)
    export(ledger, settings, TASK, trained, "merged")
    [(kind, subject, seconds, cost)] = expenses(ledger)
    assert (kind, subject) == ("export", trained.id)
    assert cost == round(seconds * 10_000)  # $36 an hour is a cent a second


@pytest.mark.parametrize(
    ("variant", "of", "words"),
    [("adapter", "merged", "has no adapter"), ("gguf", "int8", "export the student that it was made from")],
)
def test_a_form_that_cannot_be_had_from_another_is_refused(
    ledger: Ledger, settings: Settings, home: Path, variant: str, of: str, words: str
) -> None:
    trained = a_student(ledger, settings, variant=of)
    with pytest.raises(TrainingError, match=words):
        export(ledger, settings, TASK, trained, variant)  # type: ignore[arg-type]
    assert runs(home) == []


def test_a_student_whose_files_were_changed_is_not_exported(ledger: Ledger, settings: Settings) -> None:
    trained = a_student(ledger, settings)
    (trained_files(settings) / "adapter_model.safetensors").write_text("others")
    with pytest.raises(TrainingError, match=r"another hash.*train it anew"):
        export(ledger, settings, TASK, trained, "merged")


def test_what_the_trainer_says_is_said_and_nothing_is_kept(
    ledger: Ledger, settings: Settings, home: Path
) -> None:
    trained = a_student(ledger, settings)
    way(home, "refuses install it: pip install llmcompressor")
    with pytest.raises(TrainingError, match="fp8: install it: pip install llmcompressor"):
        export(ledger, settings, TASK, trained, "fp8")
    assert variants_of(ledger, TASK, trained) == []
    way(home, "works")
    export(ledger, settings, TASK, trained, "fp8")
    assert len(expenses(ledger)) == 2


def test_a_trainer_that_is_killed_is_named_with_its_last_words(
    ledger: Ledger, settings: Settings, home: Path
) -> None:
    trained = a_student(ledger, settings)
    way(home, "dies")
    with pytest.raises(TrainingError, match=r"signal 9; .*memory ran out: Killed by the test"):
        export(ledger, settings, TASK, trained, "merged")


def test_a_trainer_that_is_not_there_is_named(ledger: Ledger, home: Path) -> None:
    settings = settings_in(home, python="/nowhere/python")
    with pytest.raises(TrainingError, match=r"'/nowhere/python' cannot be started.*trainer\.python"):
        export(ledger, settings, TASK, a_student(ledger, settings), "merged")


def test_at_the_deadline_the_trainer_is_ended_and_what_it_cost_is_kept(
    ledger: Ledger, settings: Settings, home: Path
) -> None:
    trained = a_student(ledger, settings)
    way(home, "sleeps")
    with pytest.raises(OutOfBudget):
        export(ledger, settings, TASK, trained, "merged", deadline=time.monotonic() + 0.5)
    pid = int((home / "runs").read_text().split()[0]) if runs(home) else None
    assert pid is None or not is_running(pid)
    assert len(expenses(ledger)) == 1
    way(home, "works")
    assert files(settings, export(ledger, settings, TASK, trained, "merged")) is None


Usage = namedtuple("Usage", "free")


def test_a_disk_that_is_too_full_is_told_before_anything_is_begun(
    ledger: Ledger, settings: Settings, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"x" * 1000)
    trained = a_student(ledger, settings, base=str(base))
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage(1599))
    with pytest.raises(TrainingError, match="too full to export int8"):
        export(ledger, settings, TASK, trained, "int8")
    assert runs(home) == []
    export(ledger, settings, TASK, trained, "merged")


KILLED = """
import sys
from pathlib import Path
from distill.export import export, make
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from tests.distill.export.scene import TASK, settings_in

ledger, student, at, home = Ledger(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
def die(*_args, **_how):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
if at == "before the files have their place":
    make._Export._keep = die
    Path.replace = lambda path, to: die() if to.name.endswith("-merged") else path.rename(to)
if at == "before the artifact is kept":
    make._Export._keep = die
export(ledger, settings_in(home), TASK, Registry(ledger).artifact(student), "merged")
"""


@pytest.mark.parametrize("at", ["before the files have their place", "before the artifact is kept"])
def test_an_export_that_is_killed_is_taken_up_and_made_once(
    ledger: Ledger, settings: Settings, home: Path, at: str
) -> None:
    trained = a_student(ledger, settings)
    url = ledger.engine.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-c", KILLED, url, trained.id, at, str(home)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    assert variants_of(ledger, TASK, trained) == []
    made = export(ledger, settings, TASK, trained, "merged")
    assert files(settings, made) is None
    assert runs(home) == ["merged"]
    assert not (settings.students_folder / ".exporting" / manifest_of(made).folder).exists()


def test_a_trainer_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    """Its input is closed by the end of the other, however that comes."""
    starter = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    watched = "import time; from distill.export.run import _end_with_starter as end; end(); time.sleep(60)"
    argv = [sys.executable, "-c", starter, sys.executable, "-c", watched]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert is_running(child)
        process.kill()
    wait_until("the trainer ends too", lambda: not is_running(child))
