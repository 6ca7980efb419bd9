"""A night from its first stage to its report, the other rooms being fakes: what goes on, who begins it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from distill.night.book import Book
from distill.night.machine import ENDED, Stage
from distill.night.run import LOCK, look, start_now
from stepdown.errors import (
    SettingsError,
    StepdownError,
)
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.records import Deployed
from stepdown.registry import Registry
from stepdown.settings import Settings
from tests.distill.night.nights import AT, NIGHT, ended_at, go, outcomes, reason
from tests.distill.night.rooms import TASK, Rooms, Scene, settings_for


def test_a_night_ends_with_a_student_on_trial(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    done = go(ledger, settings_for(tmp_path), scene)
    deployed = Registry(ledger).deployed(TASK)
    assert deployed.candidate is not None
    assert done == f"night {NIGHT}: student {deployed.candidate[:12]} is on trial, in the shadow first"
    found = outcomes(ledger)
    assert found.pop(Stage.PRACTICE) == "skipped"
    assert set(found.values()) == {"done"}
    (promotion,) = Registry(ledger).history(TASK)
    assert promotion.evidence["coverage"] == 0.4
    assert promotion.candidate_router == Registry(ledger).newest("router", TASK).id  # type: ignore[union-attr]


def test_a_night_is_run_once(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    go(ledger, settings_for(tmp_path), scene)
    scene.calls.clear()
    assert go(ledger, settings_for(tmp_path), scene, AT + timedelta(hours=20)) is None
    assert scene.calls == []


def test_nothing_is_done_before_the_time(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    go(ledger, settings_for(tmp_path), scene)
    assert go(ledger, settings_for(tmp_path), scene, AT + timedelta(hours=23, minutes=58)) is None
    assert Book(ledger, TASK).nights()[-1].id == NIGHT


def test_a_task_that_distils_nothing_has_no_nights(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    assert look(ledger, Settings(home=str(tmp_path)), {}, TASK, at=AT, parts=Rooms.of(scene)) is None


def test_what_is_held_by_another_process_is_left_to_it(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    with alone(ledger, LOCK):
        assert go(ledger, settings_for(tmp_path), scene) is None
    assert Book(ledger, TASK).nights() == []


def test_two_nights_are_never_run_at_once(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    inner: list[Any] = []
    scene.meanwhile["train"] = lambda: inner.append(go(ledger, settings, Scene(tmp_path)))
    go(ledger, settings, scene)
    assert inner == [None]


def test_too_little_new_is_said_and_no_gpu_is_touched(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.new = 12
    done = go(ledger, settings_for(tmp_path, sleeps=True), scene)
    assert done == f"night {NIGHT}: dataset skipped: 12 new examples, min_new is 20"
    ended_at(ledger, Stage.DATASET, "skipped")
    assert not {"train", "put_to_sleep small", "serve"} & set(scene.calls)


def test_while_a_student_is_on_trial_no_second_one_is_made(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    on_trial = Deployed(candidate="s" * 64)
    Registry(ledger).promote(TASK, on_trial, actor="auto", reason="", evidence={}, after=0)
    assert "is on trial" in (go(ledger, settings_for(tmp_path), scene) or "")
    ended_at(ledger, Stage.DATASET, "skipped")
    assert scene.calls == ["label", "slice"]


def test_traffic_that_comes_while_labels_are_made_is_not_waited_for(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    """A stage that labelled until nothing was left would never end, and its budget stop the night."""
    scene.meanwhile["label"] = lambda: setattr(scene, "backlog", 1)
    assert "is on trial" in (go(ledger, settings_for(tmp_path), scene) or "")
    assert scene.calls.count("label") == 3  # once each in label, evaluate and relabel


def test_the_best_of_the_forms_that_pass_goes_on(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.passes = {"adapter": 1e6, "int8": 3e6, "merged": 2e6}
    go(ledger, settings_for(tmp_path, variants=("adapter", "merged", "int8", "gguf")), scene)
    assert "export adapter" not in scene.calls
    gate = next(e for e in Book(ledger, TASK).events(NIGHT) if (e.stage, e.event) == (Stage.GATE, ENDED))
    assert gate.found["variant"] == "int8"
    assert [g["passed"] for g in gate.found["gates"]] == [True, True, True, False]
    assert Registry(ledger).deployed(TASK).candidate == gate.found["student"]


def test_where_promotion_is_manual_nothing_is_begun(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    go(ledger, settings_for(tmp_path, task={"promotion": "manual"}), scene)
    ended_at(ledger, Stage.CANARY, "skipped")
    assert Registry(ledger).current(TASK) is None


def test_practice_is_what_the_next_night_has(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.practises = True
    go(ledger, settings_for(tmp_path, practice_rounds=5), scene)
    assert outcomes(ledger)[Stage.PRACTICE] == "done"
    assert reason(ledger, Stage.PRACTICE) == "round 1: 7 answers kept"


def test_where_there_is_no_practice_it_says_why_and_the_night_goes_on(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    done = go(ledger, settings_for(tmp_path, practice_rounds=5), scene)
    assert (outcomes(ledger)[Stage.PRACTICE], reason(ledger, Stage.PRACTICE)) == (
        "skipped",
        "it failed nothing",
    )
    assert "on trial" in (done or "")


def test_the_report_is_kept_and_says_all_of_it(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    go(ledger, settings_for(tmp_path), scene)
    kept = Registry(ledger).newest("night", TASK)
    assert kept is not None
    told = json.loads(kept.content)
    assert [stage["stage"] for stage in told["stages"]] == [*Stage][:-1]
    assert told["cost_usd_micros"] == 600_000, "300,000 for each time that a student was asked"
    assert "on trial" in told["conclusion"]


def test_the_student_is_asked_what_its_router_needs_for_a_certificate(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, task={"max_quality_loss": 0.02, "confidence": 0.95, "min_labels": 50})
    go(ledger, settings, scene)
    asked = [call for call in scene.calls if call.startswith("ask ") and not call.endswith("beside")]
    # 97.5 % for a task's first router: at least 277 held out where one is a regret, two in five of all.
    assert asked[-1] == "ask 693"


def test_a_person_starts_a_night_at_any_time(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    night = start_now(ledger, settings, TASK, "ann")
    with pytest.raises(StepdownError, match="is under way"):
        start_now(ledger, settings, TASK, "bob")
    assert "on trial" in (go(ledger, settings, scene) or "")
    assert {Stage(s) for s in outcomes(ledger, night.id)} == set(Stage)
    assert night.actor == "ann"


def test_what_cannot_be_started_says_why(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[tasks.other.student\]"):
        start_now(ledger, settings_for(tmp_path), "other", "ann")
    with pytest.raises(SettingsError, match=r"stage_minutes\.trian"):
        start_now(ledger, settings_for(tmp_path, stage_minutes={"trian": 1.0}), TASK, "ann")
