"""What ends a night before a student is on trial, and what the night does without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from distill.night.machine import Stage
from stepdown.errors import (
    DatasetError,
    LedgerError,
    OutOfBudget,
    ServingError,
    StepdownError,
    TrainingError,
)
from stepdown.ledger import Ledger
from stepdown.records import Deployed
from stepdown.registry import Registry
from tests.distill.night.nights import AT, NIGHT, ended_at, go, outcomes, reason
from tests.distill.night.rooms import TASK, Scene, settings_for

FAILURES = [
    ("new_examples", Stage.DATASET, DatasetError("no labels that can be used")),
    ("build_dataset", Stage.DATASET, DatasetError("every example is longer than 2048 tokens")),
    ("train", Stage.TRAIN, TrainingError("the extra distill is not installed")),
    ("train", Stage.TRAIN, OSError(28, "No space left on device")),
    ("serve", Stage.EVALUATE, ServingError("vLLM refused the adapter: rank 64 is too large")),
    ("judge", Stage.GATE, StepdownError("no prompt was answered by both")),
    ("fit", Stage.FIT, StepdownError("40 prompts are labelled for both models, min_labels is 200")),
    ("begin_trial", Stage.CANARY, RuntimeError("never seen before")),
]


@pytest.mark.parametrize(("call", "stage", "error"), FAILURES)
def test_what_goes_wrong_ends_its_stage_with_its_words_and_the_old_student_stays(
    ledger: Ledger, scene: Scene, tmp_path: Path, call: str, stage: Stage, error: Exception
) -> None:
    before = Deployed(student="o" * 64)
    Registry(ledger).promote(TASK, before, actor="auto", reason="", evidence={}, after=0)
    scene.raises[call] = error
    assert str(error) in (go(ledger, settings_for(tmp_path), scene) or "")
    ended_at(ledger, stage, "failed")
    assert Registry(ledger).deployed(TASK) == before


@pytest.mark.parametrize(
    ("call", "stage"), [("build_dataset", Stage.DATASET), ("train", Stage.TRAIN), ("judge", Stage.GATE)]
)
def test_a_stage_whose_budget_is_used_up_is_stopped(
    ledger: Ledger, scene: Scene, tmp_path: Path, call: str, stage: Stage
) -> None:
    scene.raises[call] = OutOfBudget("its 240 minutes are up")
    go(ledger, settings_for(tmp_path), scene)
    ended_at(ledger, stage, "stopped")
    assert reason(ledger, stage) == "its 240 minutes are up"


def test_without_slices_the_night_goes_on(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.raises["slice"] = RuntimeError("no memory")
    assert "on trial" in (go(ledger, settings_for(tmp_path), scene) or "")
    assert outcomes(ledger)[Stage.SLICES] == "failed"


def test_money_is_looked_at_between_pieces_of_the_work(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, fresh=400, stage_usd={"evaluate": 0.5})
    go(ledger, settings, scene)
    ended_at(ledger, Stage.EVALUATE, "stopped")
    assert [call for call in scene.calls if call.startswith("ask")] == ["ask 50 beside", "ask 100 beside"]
    assert "cost $0.60 of the $0.50" in reason(ledger, Stage.EVALUATE)


def test_a_form_that_cannot_be_made_or_served_is_left_out(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    scene.raises["export fp8"] = TrainingError("llm-compressor is not installed")
    go(ledger, settings_for(tmp_path, variants=("adapter", "fp8")), scene)
    assert reason(ledger, Stage.EXPORT) == "adapter; without fp8"
    assert Registry(ledger).deployed(TASK).candidate is not None


def test_the_gate_stops_a_bad_student(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.passes = {}
    go(ledger, settings_for(tmp_path), scene)
    ended_at(ledger, Stage.GATE, "stopped")
    assert reason(ledger, Stage.GATE) == "no candidate passed: adapter: fresh sample: 8.0% worse"
    assert reason(ledger, Stage.RELABEL) == "gate was not passed"
    assert Registry(ledger).current(TASK) is None


def test_a_router_that_certifies_nothing_ends_the_night(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.coverage = 0.0
    go(ledger, settings_for(tmp_path), scene)
    ended_at(ledger, Stage.BOUND, "stopped")
    assert "too few labels" in reason(ledger, Stage.BOUND)


def test_a_student_that_does_not_pay_at_the_certified_coverage_is_not_tried(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    scene.net_usd_micros = -1.0
    go(ledger, settings_for(tmp_path), scene)
    ended_at(ledger, Stage.BOUND, "stopped")
    assert "does not pay" in reason(ledger, Stage.BOUND)


def test_practice_is_not_begun_without_money(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.practises = True
    done = go(ledger, settings_for(tmp_path, practice_rounds=5, stage_usd={"practice": 0}), scene)
    assert outcomes(ledger)[Stage.PRACTICE] == "stopped"
    assert "that `stage_usd` allows it" in reason(ledger, Stage.PRACTICE)
    assert "practise" not in scene.calls
    assert "on trial" in (done or "")


def test_a_ledger_that_refuses_leaves_the_stage_to_the_next_look_and_not_for_ever(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path)
    scene.raises["build_dataset"] = LedgerError("the database is away")
    for _ in range(2):
        with pytest.raises(LedgerError):
            go(ledger, settings, scene)
    go(ledger, settings, scene)
    ended_at(ledger, Stage.DATASET, "failed")
    assert reason(ledger, Stage.DATASET) == "the database is away"


@pytest.mark.parametrize("new", [0, 1000])
def test_the_next_night_goes_on_with_a_training_that_was_stopped_however_much_is_new(
    ledger: Ledger, scene: Scene, tmp_path: Path, new: int
) -> None:
    scene.raises["train"] = OutOfBudget("its 240 minutes are up")
    go(ledger, settings_for(tmp_path), scene)
    scene.raises.clear()
    scene.new = new
    done = go(ledger, settings_for(tmp_path), scene, AT + timedelta(days=1))
    assert "on trial" in (done or "")
    taken_up = reason(ledger, Stage.DATASET, f"{TASK}/2026-11-23")
    assert taken_up == f"the training of night {NIGHT} is gone on with"
    assert Registry(ledger).count("dataset", TASK) == 1
