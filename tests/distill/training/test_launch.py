"""How a training is watched: what it leaves in the ledger and on the disk, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from distill.training import launch, student, train
from distill.training.files import CHECKPOINTS, PROGRESS, RESULT
from distill.training.journal import Tail
from distill.training.leftover import tidy
from distill.training.prepare import prepare
from stepdown.errors import OutOfBudget, SettingsError, TrainingError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.settings.distilling import TrainerSettings
from stepdown.students import STUDENT, Store, manifest_of
from tests.distill.training.fake_trainer import fake_python
from tests.distill.training.models import HIDDEN, a_base
from tests.distill.training.worlds import TASK, a_dataset, pairs, settings_for
from tests.processes import is_running, wait_until

ON_BOTH_DATABASES = True


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_base(tmp_path / "base")


@pytest.fixture
def dataset(ledger: Ledger) -> Artifact:
    return a_dataset(ledger, pairs(), pairs()[:2])


def world(tmp_path: Path, base: Path, scenario: str, **look: Any) -> Settings:
    """Settings whose trainer does as a scenario says."""
    python = fake_python(tmp_path / "trainer", scenario, **look)
    rent = TrainerSettings(usd_per_hour=3.6, memory_gb=4)
    return settings_for(tmp_path, python, base, trainer=rent, rank=4, alpha=8)


def run_folder(settings: Settings) -> Path:
    (folder,) = settings.students_folder.iterdir()
    return folder


def lines(settings: Settings, kind: str) -> list[dict[str, Any]]:
    return [dict(line) for line in Tail(run_folder(settings) / PROGRESS).lines() if line["kind"] == kind]


def test_what_it_makes_is_registered_with_what_it_took(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done")
    made = train(ledger, settings, TASK, dataset)
    manifest = manifest_of(made)
    assert (made.kind, made.task, made.parents) == (STUDENT, TASK, (dataset.id,))
    assert (manifest.base, manifest.variant, manifest.rank) == (str(base), "adapter", 4)
    assert Store(settings.students_folder).complaint(manifest) is None
    assert made.settings["run"] == manifest.run
    assert made.summary["validation_loss"] == 0.25
    assert made.summary["tokens"] == 100
    assert made.summary["tokens_per_s"] > 0
    assert [point["step"] for point in made.summary["curve"]] == [1, 2, 3, 4]
    curve = ledger.rows(select(schema.progress).order_by(schema.progress.c.step))
    assert [(row.run, row.step, row.kind) for row in curve] == [
        (manifest.run, n, "train") for n in (1, 2, 3, 4)
    ]
    (expense,) = ledger.rows(select(schema.expenses))
    assert (expense.kind, expense.subject, expense.task) == ("training", manifest.run, TASK)
    assert expense.cost_usd_micros == round(expense.seconds * 1000)


def test_what_users_wrote_is_readable_by_one_user_and_removed(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done")
    train(ledger, settings, TASK, dataset)
    assert lines(settings, "ready")[0]["modes"] == ["0o600", "0o600"]
    folder = run_folder(settings)
    assert not list(folder.glob("*train*.jsonl"))
    assert not list(folder.glob("validation*"))
    assert not (folder / CHECKPOINTS).exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_run_that_is_done_is_not_done_again(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done")
    made = train(ledger, settings, TASK, dataset)
    assert train(ledger, settings, TASK, dataset) == made
    assert len(lines(settings, "begin")) == 1
    assert len(ledger.rows(select(schema.expenses))) == 1


def test_a_run_whose_files_were_changed_is_done_again(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done")
    made = train(ledger, settings, TASK, dataset)
    changed = Store(settings.students_folder).path(manifest_of(made)) / "adapter_model.safetensors"
    changed.write_bytes(b"other")
    assert train(ledger, settings, TASK, dataset) == made
    assert Store(settings.students_folder).complaint(manifest_of(made)) is None
    assert len(lines(settings, "begin")) == 2


def test_one_that_ended_before_it_was_registered_is_only_registered(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world(tmp_path, base, "done")
    monkeypatch.setattr(student, "keep", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(ledger, settings, TASK, dataset)
    monkeypatch.undo()
    assert (run_folder(settings) / RESULT).is_file()
    train(ledger, settings, TASK, dataset)
    assert len(lines(settings, "begin")) == 1


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("crash", r"failed, and goes on at step 2: the trainer ended with exit code 1.*it went wrong"),
        ("refused", r"nothing fits"),
        ("out_of_memory", r"ran out of memory: lower batch, max_tokens or rank"),
        ("disk_full", r"the disk of .* is full .* could not write its checkpoint.*goes on at step 2"),
    ],
)
def test_a_failure_says_why_and_goes_on_where_it_was(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path, scenario: str, said: str
) -> None:
    settings = world(tmp_path, base, scenario)
    with pytest.raises(TrainingError, match=f"(?s){said}"):
        train(ledger, settings, TASK, dataset)
    folder = run_folder(settings)
    left = sorted(path.name for path in (folder / CHECKPOINTS).iterdir())
    assert left == ["checkpoint-1", "checkpoint-2"]
    assert not (folder / "train.jsonl").exists()
    assert not ledger.rows(select(schema.artifacts).where(schema.artifacts.c.kind == STUDENT))
    assert len(ledger.rows(select(schema.expenses))) == 1

    (tmp_path / "trainer" / "scenario").write_text("done")
    made = train(ledger, settings, TASK, dataset)
    assert [line["resumed"] for line in lines(settings, "ready")] == [0, 2]
    assert made.summary["stretches"] == 2
    assert len(ledger.rows(select(schema.expenses))) == 2


def test_at_the_deadline_it_stops_and_can_be_taken_up(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    fast = settings_for(
        tmp_path,
        fake_python(tmp_path / "trainer", "slow"),
        base,
        trainer=TrainerSettings(tokens_per_s=1e9),
        rank=4,
    )
    monotonic = time.monotonic
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("distill.training.speed.STARTING", (0.0, 0.0, 0.0))
        with pytest.raises(
            OutOfBudget, match=r"the time for run .* was up; called again, it goes on at step 3"
        ):
            train(ledger, fast, TASK, dataset, deadline=monotonic() + 3)
    (pid,) = [line["pid"] for line in lines(fast, "ready")]
    assert not is_running(pid)
    assert len(ledger.rows(select(schema.expenses))) == 1
    with pytest.raises(OutOfBudget, match="no time was left"):
        train(ledger, fast, TASK, dataset, deadline=monotonic())


def test_what_cannot_fit_is_not_begun(ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path) -> None:
    settings = world(tmp_path, base, "done")
    tight = msgspec.structs.replace(
        settings, trainer=msgspec.structs.replace(settings.trainer, memory_gb=0.1)
    )
    with pytest.raises(
        TrainingError, match=r"cannot be trained: it needs .* GB of memory, and the device has 0\.1"
    ):
        train(ledger, tight, TASK, dataset)
    assert not (run_folder(tight) / PROGRESS).exists()
    assert not ledger.rows(select(schema.expenses))


def test_a_run_is_trained_by_one_process_at_a_time(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world(tmp_path, base, "slow")
    monkeypatch.setattr(launch, "LOCK_PATIENCE_S", 0.0)
    with worker(settings, ledger, dataset) as other:
        wait_until("it trains", lambda: _ready(settings))
        with pytest.raises(TrainingError, match="is being trained by another process"):
            train(ledger, settings, TASK, dataset)
        other.kill()


def test_a_training_dies_with_its_worker_and_its_time_is_on_the_bill(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "slow")
    with worker(settings, ledger, dataset) as killed:
        wait_until("it trains", lambda: _ready(settings))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    (pid,) = [line["pid"] for line in lines(settings, "ready")]
    wait_until("the trainer is gone", lambda: not is_running(pid))
    assert not ledger.rows(select(schema.expenses))
    (tmp_path / "trainer" / "scenario").write_text("done")
    train(ledger, settings, TASK, dataset)
    first, second = ledger.rows(select(schema.expenses).order_by(schema.expenses.c.id))
    assert (first.id[-2:], second.id[-2:]) == ("/1", "/2")
    assert first.seconds > 0


def test_what_a_killed_worker_left_is_removed_and_billed_though_its_run_is_never_taken_up(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "slow")
    with worker(settings, ledger, dataset) as killed:
        wait_until("it trains", lambda: _ready(settings))
        left = run_folder(settings)
        tidy(ledger, settings, "another dataset")
        assert (left / "train.jsonl").is_file(), "it is being trained"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    (pid,) = [line["pid"] for line in lines(settings, "ready")]
    wait_until("the trainer is gone", lambda: not is_running(pid))
    assert (left / "train.jsonl").is_file()
    (tmp_path / "trainer" / "scenario").write_text("done")
    other = a_dataset(ledger, pairs()[3:], pairs()[:2])
    made = train(ledger, settings, TASK, other)
    assert not [file for file in left.iterdir() if file.suffix == ".jsonl" and file.name != PROGRESS]
    assert not (left / CHECKPOINTS).exists()
    subjects = [row.subject for row in ledger.rows(select(schema.expenses))]
    assert len(subjects) == len(set(subjects)) == 2
    assert manifest_of(made).run in subjects


def worker(settings: Settings, ledger: Ledger, dataset: Artifact) -> subprocess.Popen[bytes]:
    """A process that trains."""
    url = ledger.engine.url.render_as_string(hide_password=False)
    code = (
        "import sys, msgspec\n"
        "from distill.training import train\n"
        "from stepdown.ledger import Ledger\n"
        "from stepdown.registry import Registry\n"
        "from stepdown.settings import Settings\n"
        "ledger = Ledger(sys.argv[1])\n"
        "settings = msgspec.json.decode(sys.argv[2], type=Settings)\n"
        "train(ledger, settings, sys.argv[4], Registry(ledger).artifact(sys.argv[3]))\n"
    )
    encoded = msgspec.json.encode(settings).decode()
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", code, url, encoded, dataset.id, TASK], cwd=root)


def _ready(settings: Settings) -> bool:
    return settings.students_folder.is_dir() and bool(lines(settings, "train")[3:])


def test_without_a_student_in_the_settings_it_says_what_to_write(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done")
    with pytest.raises(SettingsError, match=r"write \[tasks\.other\.student\]"):
        train(ledger, settings, "other", dataset)


def test_a_python_that_is_not_there_is_named(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, str(tmp_path / "nowhere"), base)
    with pytest.raises(TrainingError, match=r"the trainer's Python .*nowhere' cannot be started"):
        train(ledger, settings, TASK, dataset)


def test_a_python_without_the_packages_says_what_to_install(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, sys.executable, base)
    with pytest.raises(
        TrainingError, match=r"lacks a package \(.*transformers.*pip install 'stepdown\[distill\]'"
    ):
        train(ledger, settings, TASK, dataset)


def test_an_adapter_of_another_base_is_not_registered(
    ledger: Ledger, dataset: Artifact, tmp_path: Path
) -> None:
    wide = a_base(tmp_path / "wide", hidden=2 * HIDDEN)
    settings = world(tmp_path, wide, "done")
    with pytest.raises(Exception, match="it is of another"):
        train(ledger, settings, TASK, dataset)
    assert not ledger.rows(select(schema.artifacts).where(schema.artifacts.c.kind == STUDENT))


def test_several_devices_go_through_accelerate(
    ledger: Ledger, dataset: Artifact, base: Path, tmp_path: Path
) -> None:
    settings = world(tmp_path, base, "done", device="cuda")
    several = msgspec.structs.replace(
        settings, trainer=msgspec.structs.replace(settings.trainer, processes=2)
    )
    prepared = prepare(ledger, several, TASK, dataset)
    argv = launch.launch_command(several, prepared, tmp_path)
    assert argv[1:5] == ["-m", "accelerate.commands.launch", "--num_processes", "2"]
    assert argv[-2:] == ["distill.training.run", str(tmp_path)]
    assert (prepared.plan.micro_batch, prepared.plan.accumulation) == (4, 1)
    assert json.loads(prepared.plan.to_bytes())["processes"] == 2
