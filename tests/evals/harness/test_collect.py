"""Suites that grow case by case are suites at any time."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from evals.harness.collect import add_case
from evals.harness.load import Reading, load_suite
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.errors import SuiteError
from stepdown.settings import JudgeSettings, TaskSettings

TASK = TaskSettings(checks={"exact": {"kind": "exact"}, "number": {"kind": "number"}}, check="exact")


def asks(prompt: str, **more: Any) -> dict[str, Any]:
    """A chat request's fields."""
    return {"messages": [{"role": "user", "content": prompt}], **more}


def test_cases_are_added_to_a_suite_that_can_be_run(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    fields = asks("What is 6 x 7?", temperature=0.5)
    first = add_case(folder, "task-playground", "task", TASK, fields, reference="42", check="number")
    second = add_case(folder, "task-playground", "task", TASK, asks("Say hi."), reference="hi", check=None)
    assert (first.cases, second.cases) == (1, 2)
    assert first.file == folder / "task-playground.toml"
    assert first.id == prompt_hash(read_prompt(msgspec.json.encode({**fields, "model": "-"})))
    suite = load_suite(first.file, Reading(tasks={"task": TASK}))
    assert [(case.fields, case.reference, case.check) for case in suite.cases] == [
        (fields, "42", "number"),
        (asks("Say hi."), "hi", "exact"),
    ]
    assert (suite.task, suite.baseline, suite.name) == ("task", "strong", "task-playground")


def test_a_prompt_is_added_once_but_for_case_and_space(tmp_path: Path) -> None:
    add_case(tmp_path, "s", "task", TASK, asks("Say hi."), reference="hi")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(SuiteError, match=r"already \(line 1\)"):
        add_case(tmp_path, "s", "task", TASK, asks("say  HI."), reference="hello")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("task", "scored", "why"),
    [
        (TaskSettings(), {}, "nothing scores it"),
        (TASK, {}, "needs a `reference`"),
        (TASK, {"reference": "x", "check": "unknown"}, "is not declared"),
    ],
)
def test_what_nothing_can_score_is_refused_and_changes_nothing(
    tmp_path: Path, task: TaskSettings, scored: dict[str, Any], why: str
) -> None:
    with pytest.raises(SuiteError, match=why):
        add_case(tmp_path, "s", "task", task, asks("x"), **scored)
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".lock"] == []


def test_a_judge_scores_what_no_check_does(tmp_path: Path) -> None:
    judges = {"a": JudgeSettings(model="strong"), "b": JudgeSettings(model="strong")}
    added = add_case(tmp_path, "s", "task", TaskSettings(judges=judges), asks("x"))
    suite = load_suite(added.file, Reading(tasks={"task": TaskSettings(judges=judges)}))
    assert suite.judge is not None
    assert suite.judge[0] == "a"


def test_what_a_person_wrote_into_the_file_stays(tmp_path: Path) -> None:
    added = add_case(tmp_path, "s", "task", TASK, asks("one"), reference="1")
    added.file.write_text(added.file.read_text() + 'check = "number"\n')
    cases = added.file.with_suffix(".jsonl")
    cases.write_bytes(cases.read_bytes().rstrip(b"\n"))  # as an editor may leave it
    add_case(tmp_path, "s", "task", TASK, asks("two"), reference="2")
    assert added.file.read_text().endswith('check = "number"\n')
    suite = load_suite(added.file, Reading(tasks={"task": TASK}))
    assert [case.check for case in suite.cases] == ["number", "number"]


def test_a_name_of_any_kind_is_a_file_in_the_folder(tmp_path: Path) -> None:
    added = add_case(tmp_path, "../a/b: ü", "../a/b: ü", TASK, asks("one"), reference="1")
    assert added.file.parent == tmp_path
    assert load_suite(added.file, Reading(tasks={"../a/b: ü": TASK})).task == "../a/b: ü"


def test_those_who_add_at_once_lose_nothing(tmp_path: Path) -> None:
    threads = [
        Thread(
            target=add_case,
            args=(tmp_path, "s", "task", TASK, asks(f"prompt {n}")),
            kwargs={"reference": "1"},
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_suite(tmp_path / "s.toml", Reading(tasks={"task": TASK})).cases) == 8


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot be written"):
        add_case(tmp_path / "file", "s", "task", TASK, asks("x"), reference="1")
