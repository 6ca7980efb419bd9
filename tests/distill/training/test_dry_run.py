"""What a training would take, and what is refused before any weight is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.training import Estimate, estimate, open_counter, train
from distill.training.headers import read_size
from distill.training.memory import memory, trained
from distill.training.speed import speed
from stepdown.errors import SettingsError, TrainingError
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from stepdown.settings.distilling import TrainerSettings
from tests.distill.training.fake_trainer import fake_python
from tests.distill.training.models import HIDDEN, INNER, LAYERS, WORDS, a_base
from tests.distill.training.test_plan import a_plan
from tests.distill.training.worlds import TASK, a_dataset, pairs, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    python, base = fake_python(tmp_path / "trainer", "done"), a_base(tmp_path / "base")
    trainer = TrainerSettings(memory_gb=4, tokens_per_s=100.0, usd_per_hour=7.2)
    return settings_for(tmp_path, python, base, trainer=trainer, epochs=2, checkpoint_steps=2)


def of(ledger: Ledger, settings: Settings, *, tokens: int = 30, weight: float = 1.0, **more: Any) -> Estimate:
    dataset = a_dataset(ledger, pairs(), pairs()[:2], tokens=tokens, weight=weight)
    return estimate(ledger, settings, TASK, dataset, **more)


def changed(settings: Settings, *, trainer: dict[str, Any] | None = None, **student: Any) -> Settings:
    task = settings.tasks[TASK]
    assert task.student is not None
    task = msgspec.structs.replace(task, student=msgspec.structs.replace(task.student, **student))
    trained_by = msgspec.structs.replace(settings.trainer, **(trainer or {}))
    return msgspec.structs.replace(settings, tasks={TASK: task}, trainer=trained_by)


def test_it_counts_tokens_steps_and_money(ledger: Ledger, settings: Settings) -> None:
    found = of(ledger, settings)
    assert found.refusal is None
    assert found.steps == 2  # eight examples, eight a step, two epochs
    assert found.tokens == 8 * 30 * 2 + 2 * 30 // 3  # and one validation, at a third
    assert found.speed_source == "trainer.tokens_per_s"
    assert found.seconds.likely == pytest.approx(25 + 5)
    assert found.seconds.low < found.seconds.likely < found.seconds.high
    assert found.cost_usd_micros.likely == pytest.approx(30 * 2000)


def test_weights_are_copies(ledger: Ledger, settings: Settings) -> None:
    assert of(ledger, settings, weight=3.0).steps == 3 * of(ledger, settings).steps


def test_without_a_stated_speed_it_takes_the_last_ones_and_before_that_guesses(
    ledger: Ledger, settings: Settings
) -> None:
    unstated = changed(settings, trainer={"tokens_per_s": None})
    guess = of(ledger, unstated)
    assert guess.speed_source == "a guess for 2 cores"
    student = train(ledger, unstated, TASK, a_dataset(ledger, pairs()))
    measured = of(ledger, unstated)
    assert measured.speed_source == "the last training of this base"
    assert measured.seconds.likely - 25 == pytest.approx(measured.tokens / student.summary["tokens_per_s"])
    assert of(ledger, changed(unstated, method="full")).speed_source.startswith("a guess")


def test_a_guess_allows_for_a_teacher_and_for_the_answers_that_are_sampled(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    unstated, size = changed(settings, trainer={"tokens_per_s": None}), read_size(a_base(tmp_path / "other"))
    plans = [a_plan(objective=objective) for objective in ("sft", "gkd")]
    alone, taught = (speed(ledger, unstated, plan, size, "cpu", 2).tokens_per_s for plan in plans)
    assert taught.likely == alone.likely / 4


def test_what_does_not_fit_into_memory_is_refused_with_what_would(tmp_path: Path, ledger: Ledger) -> None:
    base = a_base(tmp_path / "base", hidden=1024, num_hidden_layers=8)
    python = fake_python(tmp_path / "trainer", "done")
    settings = settings_for(
        tmp_path, python, base, trainer=TrainerSettings(memory_gb=3), batch=16, max_tokens=512
    )
    refusal = of(ledger, settings, tokens=500).refusal
    assert refusal is not None
    assert "of memory, and the device has 3.0 GB for it; what would fit:" in refusal
    assert "batch = 1" in refusal
    assert "max_tokens = 128" in refusal
    with pytest.raises(TrainingError, match="what would fit"):
        train(ledger, settings, TASK, a_dataset(ledger, pairs(), tokens=500))
    fitting = changed(settings, batch=1)
    assert of(ledger, fitting, tokens=500).refusal is None


def test_time_that_does_not_suffice_is_refused_and_time_that_may_not_is_said(
    ledger: Ledger, settings: Settings
) -> None:
    likely = of(ledger, settings).seconds.likely
    refusal = of(ledger, settings, seconds_left=5.0).refusal
    assert refusal is not None
    assert "what would fit: " in refusal
    assert "token_budget" in refusal
    close = of(ledger, settings, seconds_left=likely)
    assert close.refusal is None
    assert any("time may not suffice" in warning for warning in close.warnings)


def test_a_dataset_whose_every_example_is_too_long_is_refused(ledger: Ledger, settings: Settings) -> None:
    refusal = of(ledger, settings, tokens=1000).refusal
    assert refusal is not None
    assert "every one of the 8 examples is longer than max_tokens = 128; the shortest has 1000" in refusal


def test_a_full_disk_is_refused(ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.training.dry_run._free", lambda _: 1000)
    refusal = of(ledger, settings).refusal
    assert refusal is not None
    assert "of disk for checkpoints and the student" in refusal
    assert "trainer.folder on another disk" in refusal


def test_a_base_without_weights_or_configuration_is_refused(ledger: Ledger, settings: Settings) -> None:
    student = settings.tasks[TASK].student
    assert student is not None
    (Path(student.base) / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"has no \*\.safetensors"):
        of(ledger, settings)
    (Path(student.base) / "config.json").unlink()
    with pytest.raises(TrainingError, match=r"is no checkpoint: config\.json"):
        of(ledger, settings)


def test_gkd_without_a_teacher_and_uneven_batches_are_refused(ledger: Ledger, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="needs a teacher"):
        of(ledger, changed(settings, objective="gkd"))
    with pytest.raises(SettingsError, match="a batch of 8 examples cannot be shared out to 3 devices"):
        of(ledger, changed(settings, trainer={"processes": 3}))


def test_a_dataset_without_examples_is_refused(ledger: Ledger, settings: Settings) -> None:
    with pytest.raises(TrainingError, match="has no example to train on"):
        estimate(ledger, settings, TASK, a_dataset(ledger, []))


def test_sizes_are_read_from_headers(tmp_path: Path) -> None:
    size = read_size(a_base(tmp_path / "base"))
    block = HIDDEN * HIDDEN + INNER * HIDDEN + HIDDEN
    assert size.parameters == 2 * WORDS * HIDDEN + LAYERS * block
    assert (size.hidden, size.layers, size.vocabulary) == (HIDDEN, LAYERS, WORDS)
    everywhere = LAYERS * 4 * (2 * HIDDEN + HIDDEN + INNER)
    assert size.adapter_parameters(4, "all-linear") == everywhere
    assert size.adapter_parameters(4, ("q_proj",)) == LAYERS * 4 * 2 * HIDDEN


def test_memory_grows_with_what_is_learnt_and_read(tmp_path: Path) -> None:
    size = read_size(a_base(tmp_path / "base"))
    lora, full = a_plan(rank=4), a_plan(method="full", rank=0)
    assert trained(full, size) == size.parameters > trained(lora, size)
    assert memory(full, size, "cpu", 100).likely == memory(full, size, "cpu", 100).low + 0.2 * (
        memory(full, size, "cpu", 100).likely - 16 * size.parameters
    )
    assert memory(lora, size, "cpu", 200).likely > memory(lora, size, "cpu", 100).likely
    assert memory(lora, size, "cpu", 100, teacher=size).low > memory(lora, size, "cpu", 100).low
    assert (
        memory(lora, size, "cuda", 100).low - 1.2e9 * 0.8 < memory(lora, size, "cpu", 100).low - 0.7e9 * 0.8
    )


def test_tokens_are_counted_once(settings: Settings) -> None:
    count = open_counter(settings, TASK)
    chats: list[dict[str, Any]] = [{"messages": [{}] * n} for n in (1, 2, 2)]
    assert count(chats) == [1, 2, 2]
    assert count([*chats, {"messages": [{}] * 5}]) == [1, 2, 2, 5]
    counted = Path(settings.trainer.python or "").with_name("counted").read_text()
    assert counted.split() == ["2", "1"]
