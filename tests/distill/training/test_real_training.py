"""Real trainings of a tiny model, with torch, TRL and PEFT, in real processes that are really killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from distill.training import check_adapter, estimate, open_counter, train
from distill.training.files import CHECKPOINTS, PROGRESS, RESULT
from distill.training.journal import Tail
from stepdown.errors import OutOfBudget, TrainingError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.students import files_of, manifest_of
from tests.distill.training.worlds import TASK, a_dataset, pairs, settings_for, texts
from tests.processes import wait_until
from tests.tiny_model import tiny_model_in

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def base(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return tiny_model_in(tmp_path_factory.mktemp("models") / "tiny", texts(), trainer_python)


@pytest.fixture
def quick(tmp_path: Path, trainer_python: str, base: Path) -> Settings:
    """Settings of a training of a few steps."""
    return settings_for(
        tmp_path, trainer_python, base, epochs=3, learning_rate=5e-3, checkpoint_steps=4, rank=8, alpha=16
    )


def lines_of(settings: Settings) -> list[dict[str, Any]]:
    """What the journals of all runs say."""
    files = sorted(settings.students_folder.glob(f"*/{PROGRESS}"))
    return [dict(line) for file in files for line in Tail(file).lines()]


def killer(settings: Settings, step: int) -> threading.Thread:
    """Kills the trainer's process once it has done a step."""

    def kill() -> None:
        def reached() -> bool:
            return any(line["kind"] == "train" and line["step"] >= step for line in lines_of(settings))

        wait_until(f"step {step} is done", reached, PATIENCE_S)
        pids = [line["pid"] for line in lines_of(settings) if line["kind"] == "ready"]
        os.kill(pids[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def elsewhere(settings: Settings, home: Path) -> Settings:
    """The same settings with another folder."""
    home.mkdir()
    return msgspec.structs.replace(settings, home=str(home))


def weights(student: Artifact) -> dict[str, str]:
    """Hashes of a student's files."""
    return dict(manifest_of(student).files)


@pytest.fixture
def dataset(ledger: Ledger) -> Artifact:
    """Four times eight examples, and the eight to validate with."""
    return a_dataset(ledger, pairs() * 4, pairs())


def test_a_training_that_was_killed_goes_on_to_the_weights_of_one_that_was_not(
    ledger: Ledger, dataset: Artifact, quick: Settings, tmp_path: Path
) -> None:
    whole = train(ledger, quick, TASK, dataset)
    assert weights(whole).keys() == {"adapter_config.json", "adapter_model.safetensors"}
    check_adapter(quick.students_folder / manifest_of(whole).folder, manifest_of(whole))
    assert whole.summary["validation_loss"] < whole.summary["first_validation_loss"]

    broken = elsewhere(quick, tmp_path / "broken")
    other = Ledger(f"sqlite:///{tmp_path / 'other.db'}")
    again = a_dataset(other, pairs() * 4, pairs())
    thread = killer(broken, step=6)
    with pytest.raises(TrainingError, match="signal 9"):
        train(other, broken, TASK, again)
    thread.join()
    (folder,) = broken.students_folder.glob(f"*/{CHECKPOINTS}")
    torn = folder / "checkpoint-6"
    shutil.copytree(folder / "checkpoint-4", torn)
    (torn / "optimizer.pt").write_bytes(b"torn")

    resumed = train(other, broken, TASK, again)
    assert [line["resumed"] for line in lines_of(broken) if line["kind"] == "ready"] == [0, 4]
    assert weights(resumed) == weights(whole)
    assert resumed.id == whole.id
    assert resumed.summary["stretches"] == 2
    expenses = other.rows(select(schema.expenses))
    assert len(expenses) == 2
    assert all(row.seconds > 0 for row in expenses)
    assert not folder.exists()
    assert train(other, broken, TASK, again) == resumed
    assert len(other.rows(select(schema.expenses))) == 2


def test_told_to_stop_it_makes_a_checkpoint_from_which_it_goes_on(
    ledger: Ledger, dataset: Artifact, quick: Settings
) -> None:
    slow = _with(quick, epochs=40, patience=40)

    def terminate() -> None:
        wait_until(
            "a step is done", lambda: any(line["kind"] == "train" for line in lines_of(slow)), PATIENCE_S
        )
        pid = next(line["pid"] for line in lines_of(slow) if line["kind"] == "ready")
        os.kill(pid, signal.SIGTERM)

    thread = threading.Thread(target=terminate, daemon=True)
    thread.start()
    with pytest.raises(OutOfBudget, match="was told to stop; called again, it goes on at step"):
        train(ledger, slow, TASK, dataset)
    thread.join()
    stopped = [line["step"] for line in lines_of(slow) if line["kind"] == "checkpoint"]
    assert stopped
    assert stopped[-1] < 160


def test_early_stopping_keeps_the_best_checkpoint(ledger: Ledger, quick: Settings) -> None:
    wrong = [(prompt, f"{answer[::-1]}") for prompt, answer in pairs()]
    dataset = a_dataset(ledger, pairs() * 4, wrong)
    student = train(ledger, _with(quick, epochs=40, patience=2, checkpoint_steps=2), TASK, dataset)
    assert student.summary["stopped_early"]
    assert student.summary["steps"] < student.summary["most_steps"]
    assert student.summary["kept_step"] == student.summary["steps"] - 4


def test_a_training_that_had_stopped_early_and_was_killed_before_it_was_kept_makes_the_same_student(
    ledger: Ledger, quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [(prompt, f"{answer[::-1]}") for prompt, answer in pairs()]
    dataset = a_dataset(ledger, pairs() * 4, wrong)
    settings = _with(quick, epochs=40, patience=2, checkpoint_steps=2)
    monkeypatch.setattr("distill.training.student.keep", _killed)
    with pytest.raises(KeyboardInterrupt):
        train(ledger, settings, TASK, dataset)
    monkeypatch.undo()
    (folder,) = [path.parent for path in settings.students_folder.glob(f"*/{RESULT}")]
    shutil.copytree(folder / "adapter", tmp_path / "first")
    shutil.rmtree(folder / "adapter")
    (folder / RESULT).unlink()
    resumed = train(ledger, settings, TASK, dataset)
    last = max(line["resumed"] for line in lines_of(settings) if line["kind"] == "ready")
    assert last > 0
    assert resumed.summary["steps"] <= last + 1
    assert manifest_of(resumed).files == files_of(tmp_path / "first")


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_full_tuning_makes_a_whole_checkpoint(ledger: Ledger, dataset: Artifact, quick: Settings) -> None:
    student = train(ledger, _with(quick, method="full", epochs=1, learning_rate=1e-3), TASK, dataset)
    manifest = manifest_of(student)
    assert (manifest.variant, manifest.rank) == ("merged", 0)
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(
        manifest.files
    )


def test_gkd_learns_from_a_teacher_with_the_same_tokenizer(
    ledger: Ledger, dataset: Artifact, quick: Settings, base: Path
) -> None:
    student = train(ledger, _with(quick, objective="gkd", teacher=str(base), epochs=1), TASK, dataset)
    assert student.settings["objective"] == "gkd"
    assert student.summary["steps"] == 4


def test_gkd_refuses_a_teacher_with_another_tokenizer(
    ledger: Ledger, dataset: Artifact, quick: Settings, tmp_path: Path, trainer_python: str
) -> None:
    other = tiny_model_in(tmp_path / "other", ["quite other words, " * 8], trainer_python)
    with pytest.raises(
        TrainingError, match=r"the teacher's tokenizer is not the student's: .* tokens differ"
    ):
        estimate(ledger, _with(quick, objective="gkd", teacher=str(other)), TASK, dataset)


def test_a_student_without_a_chat_template_is_refused(
    ledger: Ledger, dataset: Artifact, quick: Settings, tmp_path: Path, trainer_python: str
) -> None:
    mute = tiny_model_in(tmp_path / "mute", texts(), trainer_python, template="none")
    settings = _with(quick, base=str(mute))
    with pytest.raises(TrainingError, match=r"has no chat template.*use the chat"):
        train(ledger, settings, TASK, dataset)
    with pytest.raises(TrainingError, match="has no chat template"):
        open_counter(settings, TASK)([{"messages": [{"role": "user", "content": "hello"}]}])


def test_tokens_are_counted_by_the_students_tokenizer(quick: Settings) -> None:
    count = open_counter(quick, TASK)
    chats = [
        {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
        for prompt, answer in [
            ("What colour is the stone?", "red"),
            ("What colour is the stone?", "red " * 50),
        ]
    ]
    short, long, again = count([*chats, chats[0]])
    assert 10 < short < 30 < long
    assert again == short
    refused = {"messages": [{"role": "user", "content": "hi"}, {"no role": "at all"}]}
    assert count([refused, chats[0]]) == [2**31 - 1, short]


def test_a_full_disk_is_said_and_harms_no_checkpoint(
    ledger: Ledger, dataset: Artifact, quick: Settings, tmp_path: Path
) -> None:
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/bash\nulimit -f 1200\nexec {quick.trainer.python} "$@"\n')
    limited.chmod(0o755)
    small = msgspec.structs.replace(
        quick, trainer=msgspec.structs.replace(quick.trainer, python=str(limited))
    )
    large = _with(small, rank=64)  # its optimizer's state does not fit into a file of that size
    with pytest.raises(TrainingError, match=r"disk of .* is full .* could not write its checkpoint"):
        train(ledger, large, TASK, dataset)
    (folder,) = large.students_folder.glob("*")
    assert not list(folder.glob(f"{CHECKPOINTS}/checkpoint-*"))
    assert not list(folder.glob("*.jsonl.partial"))
    assert not (folder / "train.jsonl").exists()


def test_no_time_left_is_said_before_anything_is_started(
    ledger: Ledger, dataset: Artifact, quick: Settings
) -> None:
    with pytest.raises(OutOfBudget, match="no time was left"):
        train(ledger, quick, TASK, dataset, deadline=0.0)


def _with(settings: Settings, **student: Any) -> Settings:
    task = settings.tasks[TASK]
    assert task.student is not None
    changed = msgspec.structs.replace(task, student=msgspec.structs.replace(task.student, **student))
    return msgspec.structs.replace(settings, tasks={TASK: changed})
