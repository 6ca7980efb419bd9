"""A round of practice against a fake small model, on a real ledger."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.practice import practice_report, practise, why_no_round
from distill.practice.sampling import AWAY_AFTER, TEMPERATURE
from router.wire import read_answer
from stepdown.errors import OutOfBudget, ServingError, SettingsError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.settings import Settings, WorkerSettings
from stepdown.students import served_name
from tests.distill.practice.scene import TASK, Scene, Sums, settings_of
from tests.fakes import Asked, FakeModel, Reply, error, running
from tests.processes import Process, wait_until

ON_BOTH_DATABASES = True
FOREVER = float("inf")


@pytest.fixture
def sums() -> Sums:
    return Sums({"hard": [1, 3], "easy": [0, 1, 2, 3]})


@pytest.fixture
def model(sums: Sums) -> Iterator[FakeModel]:
    fake = FakeModel(sums)
    with running(fake):
        yield fake


@pytest.fixture
def settings(tmp_path: Path, model: FakeModel) -> Settings:
    prices = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
    return settings_of(tmp_path, model.settings("tiny", **prices))


@pytest.fixture
def scene(ledger: Ledger) -> Scene:
    """Two training prompts that were failed, hard and easy, and one that nothing is right for."""
    made = Scene(ledger)
    for name in ("hard", "easy", "hopeless"):
        made.answered(made.request(name, f"a {name} sum of 3 and 4"), good=False)
    return made


@pytest.fixture
def student(scene: Scene) -> Artifact:
    return scene.student("s1")


def round_with(
    ledger: Ledger, settings: Settings, student: Artifact, dataset: Artifact, deadline: float = FOREVER
) -> Artifact:
    kept = practise(ledger, settings, {}, TASK, student, dataset, deadline=deadline)
    assert kept is not None
    return kept


def kept_of(kept: Artifact) -> list[dict[str, str]]:
    content: dict[str, Any] = json.loads(kept.content)
    return list(content["kept"])


def test_the_right_answers_to_what_is_hard_are_kept_by_reference(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    dataset = scene.dataset({"train": ["hard", "easy", "hopeless"]})
    kept = round_with(ledger, settings, student, dataset)
    content = json.loads(kept.content)
    assert (kept.kind, kept.parents) == ("practice", (student.id, dataset.id))
    assert (content["task"], content["student"], content["round"]) == (TASK, student.id, 1)
    assert [(one["request"], one["body"]) for one in content["kept"]] == 2 * [("hard", scene.bodies["hard"])]
    texts = [read_answer(ledger.body(one["answer"])).text for one in content["kept"]]
    assert texts == ["Attempt 1: 7", "Attempt 3: 7"]
    assert b"Attempt" not in kept.content
    assert b"sum of" not in kept.content
    assert {asked.json["model"] for asked in model.asked} == {served_name(student.id)}
    assert {asked.json["temperature"] for asked in model.asked} == {TEMPERATURE}


def test_the_round_says_what_it_tried_and_what_it_cost(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact
) -> None:
    kept = round_with(ledger, settings, student, scene.dataset({"train": ["hard", "easy", "hopeless"]}))
    found = kept.summary
    assert (found["prompts"], found["tried"], found["samples"], found["right"]) == (3, 3, 12, 6)
    assert (found["kept"], found["kept_of_prompts"], found["stopped"]) == (2, 1, None)
    assert found["share"]["value"] == pytest.approx(1 / 3)
    assert found["share"]["low"] == pytest.approx(0.0084, abs=1e-4)  # Clopper-Pearson of 1 in 3
    assert found["cost_usd_micros"] == 12 * 10
    table = schema.cached_answers
    rows = ledger.rows(table.select())
    assert {(row.purpose, row.task) for row in rows} == {("practice", TASK)}
    assert sum(row.cost_usd_micros for row in rows) == found["cost_usd_micros"]


def test_what_is_held_out_is_never_practised(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    for name in ("hard-v", "hard-t"):
        scene.answered(scene.request(name, f"the {name} sum"), good=False)
    twin = scene.request("twin", "the hard-t sum")  # another request with a prompt that is held out
    scene.answered(twin, good=False)
    dataset = scene.dataset({"train": ["hard", "twin"], "validation": ["hard-v"], "test": ["hard-t"]})
    round_with(ledger, settings, student, dataset)
    assert {asked.json["messages"][0]["content"] for asked in model.asked} == {"a hard sum of 3 and 4"}


def test_only_what_this_student_failed_last_is_practised(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    own = served_name(student.id)
    scene.answered("easy", True, own)  # the student got it right, another small model wrong
    scene.answered("hopeless", False, own)
    scene.answered("hopeless", True, "other")  # another one got it right later
    scene.answered("hard", True, labeller="judge:fair")  # evidence, and not the truth
    scene.answered(scene.request("unlabelled", "a hard unlabelled sum"), None)
    scene.request("unasked", "a hard unasked sum")
    train = ["hard", "easy", "hopeless", "unlabelled", "unasked"]
    kept = round_with(ledger, settings, student, scene.dataset({"train": train}))
    assert kept.summary["tried"] == 2
    asked = {one.json["messages"][0]["content"].split()[1] for one in model.asked}
    assert asked == {"hard", "hopeless"}


def test_a_prompt_whose_check_lacks_its_reference_is_counted_and_not_asked(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    scene.answered(scene.request("blank", "a hard blank sum", None), False, labeller="person:ann")
    dataset = scene.dataset({"train": ["blank"]})
    assert practise(ledger, settings, {}, TASK, student, dataset) is None
    assert model.asked == []
    both = scene.dataset({"train": ["blank", "hard"]})
    assert round_with(ledger, settings, student, both).summary["unchecked"] == 1


def test_each_sample_is_drawn_anew_whatever_the_request_said(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    name = scene.request("seeded", "a hard seeded sum", seed=7, temperature=0, stream=True, n=1, max_tokens=9)
    scene.answered(name, good=False)
    round_with(ledger, settings, student, scene.dataset({"train": ["seeded"]}))
    sent = model.asked[0].json
    assert not {"seed", "stream", "n"} & set(sent)
    assert (sent["temperature"], sent["max_tokens"]) == (TEMPERATURE, 9)


def test_a_student_practises_a_dataset_once(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    dataset = scene.dataset({"train": ["hard"]})
    round_with(ledger, settings, student, dataset)
    asked = len(model.asked)
    assert practise(ledger, settings, {}, TASK, student, dataset) is None
    assert "has practised this dataset" in (why_no_round(ledger, settings, TASK, student, dataset) or "")
    assert len(model.asked) == asked
    later = scene.dataset({"train": ["hard"]}, note="the next night")
    assert round_with(ledger, settings, student, later).summary["round"] == 2
    assert len(model.asked) == asked  # the same student was asked the same before


def test_rounds_are_capped_and_another_base_begins_anew(
    ledger: Ledger, settings: Settings, tmp_path: Path, scene: Scene, model: FakeModel
) -> None:
    settings = settings_of(tmp_path, model.settings("tiny"), rounds=1)
    round_with(ledger, settings, scene.student("s1"), scene.dataset({"train": ["hard"]}))
    dataset = scene.dataset({"train": ["hard"]}, note="the next night")
    assert practise(ledger, settings, {}, TASK, scene.student("s2"), dataset) is None
    assert practice_report(ledger, TASK)[-1] == "over: 1 rounds were made, and practice_rounds is 1"
    other = scene.student("s3", base="1" * 64)
    assert round_with(ledger, settings, other, dataset).summary["round"] == 2


def test_a_task_that_distils_no_students_is_refused(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact
) -> None:
    with pytest.raises(SettingsError, match=r"tasks\.others\.small"):
        practise(ledger, settings, {}, "others", student, scene.dataset({"train": ["hard"]}))


def test_at_the_deadline_what_was_tried_is_kept(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel, sums: Sums
) -> None:
    names = [scene.request(f"n{n}", f"a hard sum number {n}") for n in range(10)]
    for name in names:
        scene.answered(name, good=False)
    dataset = scene.dataset({"train": names})
    with pytest.raises(OutOfBudget, match="the time was up before any prompt was tried"):
        practise(ledger, settings, {}, TASK, student, dataset, deadline=time.monotonic())
    assert model.asked == []
    clock = iter([0.0] * 4 + [10.0] * 100)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("distill.practice.sampling.CLOCK", lambda: next(clock))
        kept = round_with(ledger, settings, student, dataset, deadline=5.0)
    assert kept.summary["tried"] in range(1, 10)
    assert kept.summary["stopped"] == "the time was up"
    assert kept.summary["samples"] == 4 * kept.summary["tried"]  # whole prompts alone


def test_a_student_that_is_away_is_told_from_one_that_fails(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel
) -> None:
    names = [scene.request(f"n{n}", f"a hard sum number {n}") for n in range(AWAY_AFTER)]
    for name in names:
        scene.answered(name, good=False)
    model.behaviour = lambda asked: error(401, "no key")
    with pytest.raises(ServingError, match=f"failed {AWAY_AFTER} times in a row.*no key"):
        practise(ledger, settings, {}, TASK, student, scene.dataset({"train": names}))
    with pytest.raises(ServingError, match=r"did not answer every prompt.*no key"):
        practise(ledger, settings, {}, TASK, student, scene.dataset({"train": ["hard"]}))


def test_a_prompt_for_which_the_student_was_away_is_left_out_whole(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel, sums: Sums
) -> None:
    def behaviour(asked: Asked) -> Reply:
        away = b"hopeless" in asked.body and sums.times["a hopeless sum of 3 and 4"] == 2
        return error(401) if away else sums(asked)

    model.behaviour = behaviour
    settings = msgspec.structs.replace(settings, worker=WorkerSettings(concurrency=1))
    kept = round_with(ledger, settings, student, scene.dataset({"train": ["hard", "hopeless"]}))
    assert (kept.summary["prompts"], kept.summary["tried"], kept.summary["samples"]) == (2, 1, 4)
    assert "did not answer every prompt" in kept.summary["stopped"]


def test_one_prompt_that_the_server_refuses_harms_no_other(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel, sums: Sums
) -> None:
    model.behaviour = lambda asked: error(400) if b"hopeless" in asked.body else sums(asked)
    kept = round_with(ledger, settings, student, scene.dataset({"train": ["hard", "hopeless"]}))
    assert kept.summary["unanswered"] == 4
    assert [one["request"] for one in kept_of(kept)] == ["hard", "hard"]


PRACTISE = """
import sys
from pathlib import Path
from distill.practice import practise
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import ModelSettings
from tests.distill.practice.scene import TASK, settings_of

url, home, model_url, student, dataset = sys.argv[1:]
ledger, model = Ledger(url), ModelSettings(model="tiny", url=model_url)
registry = Registry(ledger)
of = registry.artifact(student), registry.artifact(dataset)
practise(ledger, settings_of(Path(home), model), {}, TASK, *of)
"""


def test_a_round_that_is_killed_is_taken_up_and_asks_nothing_twice(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact, model: FakeModel, tmp_path: Path
) -> None:
    names = [scene.request(f"n{n}", f"a hard sum number {n}") for n in range(8)]
    for name in names:
        scene.answered(name, good=False)
    dataset = scene.dataset({"train": names})
    url = ledger.engine.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-c", PRACTISE, url, str(tmp_path), model.url, student.id, dataset.id]
    with Process(argv, tmp_path / "log.txt") as process:
        wait_until("some samples are asked for", lambda: len(model.asked) >= 9)
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
    before = len(model.asked)
    in_the_ledger = len(ledger.rows(schema.cached_answers.select()))
    assert before < 32
    assert in_the_ledger
    kept = round_with(ledger, settings, student, dataset)
    assert kept.summary["samples"] == 32
    assert len(model.asked) == before + 32 - in_the_ledger


def test_the_report_has_a_line_of_share_and_gain_for_each_round(
    ledger: Ledger, settings: Settings, scene: Scene, student: Artifact
) -> None:
    assert practice_report(ledger, TASK) == [f"task {TASK}: no round of practice yet"]
    round_with(ledger, settings, student, scene.dataset({"train": ["hard", "easy", "hopeless"]}))
    lines = practice_report(ledger, TASK)
    assert "tried 3 prompts that it had failed; 6 of 12 samples right, 2 kept, of 33.3% [0.8%," in lines[0]
    assert "not known yet" in lines[1]
    assert lines[-1] == "another round is to come"
