"""When a training stops early, whatever befell it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distill.training.callbacks import Journal, callback, should_stop


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([], False),
        ([3.0], False),
        ([3.0, 2.0, 2.5], False),
        ([3.0, 2.0, 2.5, 2.0], True),
        ([1.0, 2.0, 3.0, 0.5], False),
    ],
)
def test_it_stops_after_so_many_validations_without_a_lower_loss(losses: list[float], stops: bool) -> None:
    assert should_stop(losses, 2) is stops


@pytest.mark.parametrize(
    ("losses", "stops"), [([], False), ([2.0, 1.0, 1.5], False), ([1.0, 2.0, 2.0], True)]
)
def test_one_that_had_stopped_does_not_go_on_when_it_is_taken_up(
    losses: list[float], stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers: Any = ModuleType("transformers")
    transformers.TrainerCallback = object
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    watching = callback(Journal(tmp_path / "progress.jsonl"), [], patience=2)
    history = [{"loss": 9.0}, *({"eval_loss": loss} for loss in losses)]
    control = SimpleNamespace(should_training_stop=False)
    watching.on_train_begin(None, SimpleNamespace(log_history=history), control)
    assert control.should_training_stop is stops
