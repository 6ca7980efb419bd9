"""The small model sleeps while a student is trained, and is woken whatever becomes of the training."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from distill.night.book import Book
from distill.night.machine import Stage, asleep
from stepdown.errors import (
    LedgerError,
    ServingError,
    TrainingError,
)
from stepdown.ledger import Ledger
from tests.distill.night.nights import AT, NIGHT, ended_at, go
from tests.distill.night.rooms import TASK, Scene, settings_for


def test_the_small_model_sleeps_while_a_student_is_trained_and_no_longer(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    go(ledger, settings_for(tmp_path, sleeps=True), scene)
    around = scene.calls[scene.calls.index("put_to_sleep small") :][:3]
    assert around == ["put_to_sleep small", "train", "wake small"]
    assert asleep(Book(ledger, TASK).events(NIGHT)) == []


@pytest.mark.parametrize("error", [TrainingError("loss is not a number"), KeyError("loss")])
def test_a_training_that_fails_gives_the_gpu_back(
    ledger: Ledger, scene: Scene, tmp_path: Path, error: Exception
) -> None:
    scene.raises["train"] = error
    go(ledger, settings_for(tmp_path, sleeps=True), scene)
    assert not scene.asleep
    ended_at(ledger, Stage.TRAIN, "failed")


def test_a_night_that_is_interrupted_gives_the_gpu_back_before_it_goes(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    scene.raises["train"] = LedgerError("the database is away")
    with pytest.raises(LedgerError):
        go(ledger, settings_for(tmp_path, sleeps=True), scene)
    assert not scene.asleep


def test_who_does_not_wake_is_woken_by_a_later_look(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, sleeps=True)
    scene.raises["wake small"] = ServingError("it does not answer")
    go(ledger, settings, scene)
    ended_at(ledger, Stage.EVALUATE, "failed")
    assert scene.asleep
    scene.raises.clear()
    assert go(ledger, settings, scene, AT + timedelta(minutes=1)) is None
    assert not scene.asleep
    scene.calls.clear()
    go(ledger, settings, scene, AT + timedelta(minutes=2))
    assert scene.calls == []
