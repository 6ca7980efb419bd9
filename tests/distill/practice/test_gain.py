"""What a round brought: two students on prompts that neither was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.practice import gain_of_round, practice_report, round_to_mix, why_no_round
from distill.practice.gain import PRACTICE
from evals.metrics.intervals import paired_difference
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, Settings
from tests.distill.practice.scene import TASK, Scene, settings_of

ON_BOTH_DATABASES = True


@pytest.fixture
def scene(ledger: Ledger) -> Scene:
    return Scene(ledger)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, ModelSettings(model="tiny", url="http://127.0.0.1:9/v1"))


def a_round(
    ledger: Ledger, settings: Settings, student: Artifact, dataset: Artifact, number: int = 1
) -> Artifact:
    from distill.practice.round import _recipe

    task = settings.tasks[TASK]
    assert task.student is not None
    return Registry(ledger).keep(
        PRACTICE,
        TASK,
        b"{}",
        parents=(student.id, dataset.id),
        settings={
            "recipe": _recipe(task, task.student, student),
            "practice_rounds": 3,
            "confidence": 0.95,
        },
        summary={
            "round": number,
            "kept": 5,
            "prompts": 9,
            "tried": 9,
            "stopped": None,
            "samples": 36,
            "right": 9,
            "share": {"value": 0.5, "low": 0.2, "high": 0.8, "n": 9},
            "cost_usd_micros": 10,
            "unpriced": 0,
        },
    )


def test_the_gain_is_that_of_the_student_trained_with_the_round_on_common_prompts(
    ledger: Ledger, settings: Settings, scene: Scene
) -> None:
    before = scene.student("before")
    kept = a_round(ledger, settings, before, scene.dataset({"train": []}))
    assert gain_of_round(ledger, settings, TASK, 1) is None
    mixed = scene.dataset({"train": []}, parents=(kept.id,), note="next")
    scene.student("unrelated", parents=("other",))
    after = scene.student("after", parents=(mixed.id,))
    scene.student("later", parents=(mixed.id,))
    right = [(False, True)] * 30 + [(True, True)] * 50 + [(True, False)] * 5 + [(False, False)] * 15
    scene.compared(before, after, right)
    gain = gain_of_round(ledger, settings, TASK, 1)
    assert gain is not None
    assert (gain.before, gain.after) == (before.id, after.id)
    a, b = [float(second) for _, second in right], [float(first) for first, _ in right]
    assert gain.difference == pytest.approx(paired_difference(a, b))
    assert gain.difference.n == 100


def test_prompts_that_were_trained_on_say_nothing_of_the_gain(
    ledger: Ledger, settings: Settings, scene: Scene
) -> None:
    before = scene.student("before")
    kept = a_round(ledger, settings, before, scene.dataset({"train": []}))
    names = [scene.request(f"t-{n}", f"t prompt number {n}") for n in range(40)]
    mixed = scene.dataset({"train": names[:30], "test": names[30:]}, parents=(kept.id,), note="next")
    after = scene.student("after", parents=(mixed.id,))
    scene.compared(before, after, [(False, True)] * 30 + [(True, True)] * 10, tag="t")
    gain = gain_of_round(ledger, settings, TASK, 1)
    assert gain is not None
    assert (gain.difference.value, gain.difference.n) == (0.0, 10)


def test_a_prompt_that_came_twice_counts_once(ledger: Ledger, settings: Settings, scene: Scene) -> None:
    from stepdown.students import served_name

    before = scene.student("before")
    kept = a_round(ledger, settings, before, scene.dataset({"train": []}))
    after = scene.student("after", parents=(scene.dataset({}, parents=(kept.id,), note="next").id,))
    for name in ("one", "two"):
        scene.request(name, "the same prompt")
        scene.answered(name, False, served_name(before.id))
        scene.answered(name, True, served_name(after.id))
    gain = gain_of_round(ledger, settings, TASK, 1)
    assert gain is not None
    assert (gain.difference.value, gain.difference.n) == (1.0, 1)


def test_a_round_that_hurt_is_the_last(ledger: Ledger, settings: Settings, scene: Scene) -> None:
    before = scene.student("before")
    kept = a_round(ledger, settings, before, scene.dataset({"train": []}))
    mixed = scene.dataset({"train": []}, parents=(kept.id,), note="next")
    after = scene.student("after", parents=(mixed.id,))
    assert why_no_round(ledger, settings, TASK, after, mixed) is None
    scene.compared(before, after, [(True, False)] * 20 + [(True, True)] * 20)
    why = why_no_round(ledger, settings, TASK, after, mixed)
    assert why is not None
    assert why.startswith("round 1 did not help: its gain is -50.0%")
    assert practice_report(ledger, TASK)[-1] == f"over: {why}"


def test_a_round_that_hurt_is_mixed_in_no_more_and_the_one_before_it_is(
    ledger: Ledger, settings: Settings, scene: Scene
) -> None:
    assert round_to_mix(ledger, TASK) is None
    students, dataset, rounds = [scene.student("s0")], scene.dataset({"train": []}), []
    for number in (1, 2):
        rounds.append(a_round(ledger, settings, students[-1], dataset, number))
        mixed = round_to_mix(ledger, TASK)
        assert mixed == rounds[-1], "what it brought is not known yet"
        dataset = scene.dataset({"train": []}, parents=(rounds[-1].id,), note=f"after {number}")
        students.append(scene.student(f"s{number}", parents=(dataset.id,)))
    scene.compared(students[0], students[1], [(False, True)] * 20 + [(True, True)] * 20, tag="one")
    scene.compared(students[1], students[2], [(True, False)] * 20 + [(True, True)] * 20, tag="two")
    assert round_to_mix(ledger, TASK) == rounds[0]


def test_a_round_that_there_is_not_is_named(ledger: Ledger, settings: Settings) -> None:
    with pytest.raises(ArtifactError, match="no round 4 of practice"):
        gain_of_round(ledger, settings, TASK, 4)
