"""A night from its first stage to its report, the other rooms being fakes: what goes on, and what ends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from distill.night.book import Book
from distill.night.machine import ENDED, Stage, asleep
from distill.night.run import LOCK, look, start_now
from distill.night.status import status
from distill.night.text import render_status
from stepdown.errors import (
    DatasetError,
    LedgerError,
    OutOfBudget,
    ServingError,
    SettingsError,
    StepdownError,
    TrainingError,
)
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.records import Deployed
from stepdown.registry import Registry
from stepdown.settings import Settings
from tests.distill.night.rooms import TASK, Rooms, Scene, asked_before, settings_for

AT = datetime(2026, 11, 22, 2, 31, tzinfo=UTC)
NIGHT = f"{TASK}/2026-11-22"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with nothing in it, which tests copy."""
    file = tmp_path_factory.mktemp("empty") / "ledger.db"
    Ledger(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def ledger(empty: Path, tmp_path: Path) -> Iterator[Ledger]:
    shutil.copy(empty, tmp_path / "ledger.db")
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", migrated=False)
    yield opened
    opened.close()


@pytest.fixture
def scene(ledger: Ledger, tmp_path: Path) -> Scene:
    asked_before(ledger, AT - timedelta(days=9))
    return Scene(tmp_path)


def go(ledger: Ledger, settings: Settings, scene: Scene, at: datetime = AT) -> str | None:
    return look(ledger, settings, {}, TASK, at=at, parts=Rooms.of(scene))


def outcomes(ledger: Ledger, night: str = NIGHT) -> dict[str, str]:
    ends = {e.stage: e.outcome for e in Book(ledger, TASK).events(night) if e.event == ENDED}
    return {stage: ends[stage] for stage in Stage if stage in ends}


def reason(ledger: Ledger, stage: Stage, night: str = NIGHT) -> str:
    (ended,) = (e for e in Book(ledger, TASK).events(night) if (e.stage, e.event) == (stage, ENDED))
    return ended.reason


def ended_at(ledger: Ledger, stage: Stage, outcome: str) -> None:
    """A stage ended so, those before it were done, those after it skipped, and the report was made."""
    order = list(Stage)
    found, place = outcomes(ledger), order.index(stage)
    assert found.pop(Stage.PRACTICE) == "skipped"
    assert found[stage] == outcome
    assert all(found[one] == "done" for one in order[:place] if one in found)
    assert all(found[one] == "skipped" for one in order[place + 1 : -1] if one in found)
    assert found[Stage.REPORT] == "done"


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


def test_the_best_of_the_forms_that_pass_goes_on(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.passes = {"adapter": 1e6, "int8": 3e6, "merged": 2e6}
    go(ledger, settings_for(tmp_path, variants=("adapter", "merged", "int8", "gguf")), scene)
    assert "export adapter" not in scene.calls
    gate = next(e for e in Book(ledger, TASK).events(NIGHT) if (e.stage, e.event) == (Stage.GATE, ENDED))
    assert gate.found["variant"] == "int8"
    assert [g["passed"] for g in gate.found["gates"]] == [True, True, True, False]
    assert Registry(ledger).deployed(TASK).candidate == gate.found["student"]


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


def test_where_promotion_is_manual_nothing_is_begun(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    go(ledger, settings_for(tmp_path, task={"promotion": "manual"}), scene)
    ended_at(ledger, Stage.CANARY, "skipped")
    assert Registry(ledger).current(TASK) is None


def test_practice_is_what_the_next_night_has(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.practises = True
    go(ledger, settings_for(tmp_path, practice_rounds=5), scene)
    assert outcomes(ledger)[Stage.PRACTICE] == "done"
    assert reason(ledger, Stage.PRACTICE) == "round 1: 7 answers kept"


def test_practice_is_not_begun_without_money(ledger: Ledger, scene: Scene, tmp_path: Path) -> None:
    scene.practises = True
    done = go(ledger, settings_for(tmp_path, practice_rounds=5, stage_usd={"practice": 0}), scene)
    assert outcomes(ledger)[Stage.PRACTICE] == "stopped"
    assert "that `stage_usd` allows it" in reason(ledger, Stage.PRACTICE)
    assert "practise" not in scene.calls
    assert "on trial" in (done or "")


def test_where_there_is_no_practice_it_says_why_and_the_night_goes_on(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    done = go(ledger, settings_for(tmp_path, practice_rounds=5), scene)
    assert (outcomes(ledger)[Stage.PRACTICE], reason(ledger, Stage.PRACTICE)) == (
        "skipped",
        "it failed nothing",
    )
    assert "on trial" in (done or "")


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


def test_status_says_how_far_it_is_and_when_the_next_one_begins(
    ledger: Ledger, scene: Scene, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path)
    before = status(ledger, settings, TASK, at=AT)
    assert before.night is None
    assert before.is_due
    shown: list[str] = []
    scene.meanwhile["train"] = lambda: shown.append(render_status(status(ledger, settings, TASK, at=AT)))
    scene.passes = {}
    go(ledger, settings, scene)
    assert "it is under way" in shown[0]
    assert "evaluate  waiting" in shown[0]
    after = status(ledger, settings, TASK, at=AT)
    assert not after.is_due
    assert after.next_at == datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    text = render_status(after)
    assert "no candidate passed: adapter: fresh sample: 8.0% worse" in text
    assert "next night: 2026-11-23 02:30 UTC" in text
    assert "overall  -8%" in text
