"""Traffic frozen as a suite: what is in it, what is not, and that it is the same again."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from evals.answers import upload_answers
from evals.harness.freeze import Frozen, Sampling, freeze_suite
from evals.harness.load import Reading, load_suite
from evals.harness.toml import toml_value
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.errors import SuiteError
from stepdown.ids import now
from stepdown.ledger import Body, Ledger
from stepdown.settings import JudgeSettings, TaskSettings
from tests.records import a_request

ON_BOTH_DATABASES = True
TASK = TaskSettings(
    check="number",
    checks={"number": {"kind": "number", "absolute": 0.5}, "json": {"kind": "json"}},
    judges={"helpful": JudgeSettings(model="strong", rubric='Say "yes"\nor \\no\x7f.')},
)


def write(ledger: Ledger, prompt: str, **changes: Any) -> str:
    """A request of the task `sums`; returns its id."""
    document = {
        "model": "stepdown",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0.5,
        "stream": True,
        "user": "someone@example.com",
        "metadata": {"customer": "secret"},
    }
    body = Body.of(json.dumps(document).encode())
    request = a_request(
        **{
            "task": "sums",
            "prompt_hash": prompt_hash(read_prompt(body.content)),
            "body": body.digest,
            "reference": "2",
            **changes,
        }
    )
    ledger.append([body, request])
    return str(request.id)


def freeze(ledger: Ledger, folder: Path, **sampling: Any) -> Frozen:
    return freeze_suite(ledger, "sums", TASK, Sampling(**sampling), folder)


def cases(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]


def test_distinct_prompts_become_cases_that_are_read_as_a_suite(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "1 + 1?", slice="easy")
    write(ledger, "1 +  1?")
    write(ledger, "1 and 1?", check="json", reference='{"a": [1, null]}')
    write(ledger, "Another task's", task="other")
    frozen = freeze(ledger, tmp_path)
    assert (frozen.cases, frozen.prompts, frozen.left_out) == (2, 2, {})
    by_text = {case["messages"][0]["content"]: case for case in cases(tmp_path)}
    assert set(by_text) == {"1 + 1?", "1 and 1?"}
    one = by_text["1 + 1?"]
    assert (one["reference"], one["check"], one["slice"], one["temperature"]) == (2, "number", "easy", 0.5)
    assert by_text["1 and 1?"]["reference"] == {"a": [1, None]}
    suite = load_suite(frozen.file, Reading(tasks={}))
    assert suite.cases_hash == frozen.cases_hash
    assert {case.id for case in suite.cases} == {case.prompt_hash for case in suite.cases}
    assert (suite.task, suite.baseline) == ("sums", "strong")
    assert tomllib.loads(frozen.file.read_text())["judges"]["helpful"]["rubric"] == 'Say "yes"\nor \\no\x7f.'


def test_of_several_judges_the_first_scores_what_no_check_does(ledger: Ledger, tmp_path: Path) -> None:
    judges = {"first": JudgeSettings(model="strong"), "second": JudgeSettings(model="strong")}
    task = TaskSettings(judges=judges)
    write(ledger, "Say hello.", reference=None)
    frozen = freeze_suite(ledger, "sums", task, Sampling(), tmp_path / "s")
    suite = load_suite(frozen.file, Reading(tasks={"sums": task}))
    assert suite.judge is not None
    assert suite.judge[0] == "first"


def test_who_asked_is_not_in_it(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "1 + 1?", tenant="0123456789abcdef", conversation="c-77")
    freeze(ledger, tmp_path)
    written = (tmp_path / "cases.jsonl").read_text() + (tmp_path / "suite.toml").read_text()
    for secret in ("someone@example.com", "secret", "0123456789abcdef", "c-77", "stream"):
        assert secret not in written


def test_the_same_seed_gives_the_same_files_and_more_traffic_only_adds(
    ledger: Ledger, tmp_path: Path
) -> None:
    for number in range(60):
        write(ledger, f"{number} + 1?")
    for folder in "ab":
        freeze(ledger, tmp_path / folder, size=20)
    freeze(ledger, tmp_path / "c", size=20, seed=1)
    for name in ("suite.toml", "cases.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    ids = {folder: {case["id"] for case in cases(tmp_path / folder)} for folder in "abc"}
    assert len(ids["a"]) == 20
    assert ids["a"] != ids["c"]
    write(ledger, "one more?")
    freeze(ledger, tmp_path / "d", size=20)
    assert len({case["id"] for case in cases(tmp_path / "d")} & ids["a"]) >= 19


def test_a_slice_and_a_time_narrow_it(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "old?", slice="easy", at=now() - timedelta(days=3))
    new = write(ledger, "new?", slice="easy")
    write(ledger, "hard?", slice="hard")
    freeze(ledger, tmp_path / "a", kind="easy", since=now() - timedelta(days=1))
    assert [case["messages"][0]["content"] for case in cases(tmp_path / "a")] == ["new?"]
    assert tomllib.loads((tmp_path / "a" / "suite.toml").read_text())["name"] == "sums-easy"
    found = freeze_suite(ledger, "sums", TASK, Sampling(kind="c1"), tmp_path / "b", slice_of={new: "c1"})
    assert (found.cases, cases(tmp_path / "b")[0]["slice"]) == (1, "c1")


def test_what_cannot_be_scored_is_left_out_and_counted(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "good?")
    write(ledger, "no reference?", reference=None)
    write(ledger, "unknown check?", check="nobody")
    write(ledger, "no body?", body="0" * 64)
    frozen = freeze_suite(ledger, "sums", structs.replace(TASK, judges={}), Sampling(), tmp_path)
    assert frozen.cases == 1
    assert sum(frozen.left_out.values()) == 3
    assert any("'nobody'" in why for why in frozen.left_out)


def test_what_lacks_its_reference_goes_to_the_judge(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "1 + 1?")
    write(ledger, "A letter, please.", reference=None)
    suite = load_suite(freeze(ledger, tmp_path).file, Reading(tasks={"sums": TASK}))
    scored_by = {case.fields["messages"][0]["content"]: case.check for case in suite.cases}
    assert scored_by == {"1 + 1?": "number", "A letter, please.": None}
    assert suite.judge is not None


def test_references_of_an_answer_file_count(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "1 + 1?", reference=None)
    upload_answers(ledger, "sums", ['{"prompt": "1 + 1?", "reference": {"b": 1}, "check": "json"}'])
    freeze(ledger, tmp_path)
    (case,) = cases(tmp_path)
    assert (case["reference"], case["check"]) == ({"b": 1}, "json")


def test_a_request_with_a_reference_goes_before_one_without(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, "1 + 1?", reference=None, at=now() - timedelta(days=1))
    write(ledger, "1 + 1?", reference="2")
    freeze(ledger, tmp_path)
    assert cases(tmp_path)[0]["reference"] == 2


def test_a_task_without_traffic_and_a_folder_in_use_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no traffic to freeze: no request fits"):
        freeze(ledger, tmp_path)
    write(ledger, "1 + 1?")
    with pytest.raises(SuiteError, match="no request fits slice 'eezy'; `stepdown slices` lists slices"):
        freeze(ledger, tmp_path, kind="eezy")
    freeze(ledger, tmp_path)
    with pytest.raises(SuiteError, match="holds a suite already"):
        freeze(ledger, tmp_path)


@pytest.mark.parametrize(
    "value", [True, 1, 0.1, 1e300, "", 'a"\\\n\x7f\u2028😀', [1, "a"], {"a b": {"c": [True]}}]
)
def test_values_are_read_back_as_they_were(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form in TOML"):
        toml_value(None)
