"""Suites as files: what is read, what is refused by its line, and what their hash depends on."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.harness.load import Reading, load_suite
from evals.harness.suite import Suite
from stepdown.errors import SuiteError
from stepdown.settings import JudgeSettings, TaskSettings
from tests.evals.harness.suites import CHECKS, READING, read, sums, write_suite

ROOT = Path(__file__).parents[3]


def test_a_suite_is_read_from_its_files(tmp_path: Path) -> None:
    lines = [
        {"prompt": "1 + 1?", "reference": 2, "slice": "sums"},
        {
            "id": "hard-1",
            "messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 2?"}],
            "reference": "four",
            "check": "exact",
            "temperature": 0.5,
            "tools": [{"type": "function", "function": {"name": "add"}}],
            "model": "ignored",
            "stream": True,
            "strong": {"text": "4"},
            "unheard-of": 1,
        },
    ]
    suite = read(tmp_path, lines, head='name = "mine"\ndescription = "two"\ntask = "t"\nbaseline = "b"')
    assert (suite.name, suite.description, suite.task, suite.baseline) == ("mine", "two", "t", "b")
    first, second = suite.cases
    assert first.fields == {"messages": [{"role": "user", "content": "1 + 1?"}]}
    assert (first.reference, first.check, first.slice, first.line) == (2, "number", "sums", 1)
    assert (second.id, second.check, second.slice, second.line) == ("hard-1", "exact", None, 2)
    assert set(second.fields) == {"messages", "temperature", "tools"}
    assert set(suite.checks) == {"number", "exact"}


def test_lines_alone_are_a_suite_too_with_the_checks_of_their_task(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"prompt": "1 + 1?", "reference": 2}\n\n'))
    task = TaskSettings(check="number", checks={"number": {"kind": "number"}})
    suite = load_suite(file, Reading(tasks={"adding": task}, task="adding"))
    assert (suite.name, suite.task, suite.cases[0].check) == ("some", "adding", "number")


def test_the_repositorys_recording_is_a_suite() -> None:
    suite = load_suite(ROOT / "bench" / "suites" / "recorded.toml", READING)
    assert len(suite.cases) == 1810
    assert suite.bad_lines == []
    assert {case.check for case in suite.cases} == set(suite.checks)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "not JSON"),
        ("[1, 2]", "list, not an object"),
        ('{"reference": 2}', "neither `prompt`"),
        ('{"messages": [], "reference": 2}', "messages"),
        ('{"messages": [{"content": "no role"}], "reference": 2}', "role"),
        ('{"prompt": "?", "reference": 2, "check": "nmuber"}', "'nmuber' is not declared; declared: number"),
        ('{"prompt": "?"}', "needs a `reference`"),
        ('{"prompt": "?", "reference": 2, "slice": 7}', "slice = 7 is not text"),
        ('{"prompt": "?", "reference": 2, "id": ""}', "id ''"),
        ('{"prompt": "?", "reference": 2, "id": "taken"}', "'taken' is taken"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_or_left_out(tmp_path: Path, line: str, why: str) -> None:
    good = {"id": "taken", "prompt": "1 + 1?", "reference": 2}
    file = write_suite(tmp_path, [good])
    cases = tmp_path / "cases.jsonl"
    cases.write_bytes(cases.read_bytes() + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(SuiteError, match=r"cases\.jsonl:2: ") as error:
        load_suite(file, READING)
    assert why in str(error.value)
    assert "--skip-bad-lines" in str(error.value)
    suite = load_suite(file, Reading(tasks={}, skip_bad_lines=True))
    assert [case.id for case in suite.cases] == ["taken"]
    (bad,) = suite.bad_lines
    assert (bad.line, why in bad.why) == (2, True)


def test_only_the_first_bad_lines_are_listed(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"9 lines cannot be used(?s:.*)and 4 more"):
        read(tmp_path, ["nonsense"] * 9)


def test_a_suite_of_bad_lines_alone_is_refused_even_when_they_are_skipped(tmp_path: Path) -> None:
    file = write_suite(tmp_path, ["nonsense"])
    with pytest.raises(SuiteError, match="no case that can be used"):
        load_suite(file, Reading(tasks={}, skip_bad_lines=True))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ('check_ = "number"', "check_"),
        ("limit = 0", "limit"),
        ('judge = "nobody"', "'nobody' is not declared; declared: none"),
        ("name = ", "Invalid value"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, head: str, why: str) -> None:
    with pytest.raises(SuiteError) as error:
        read(tmp_path, sums(1), head=head)
    assert why in str(error.value)
    assert "suite.toml" in str(error.value)


def test_a_wrong_check_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="known kinds"):
        read(tmp_path, sums(1), checks='[checks.number]\nkind = "nmuber"\n')


def test_cases_that_are_not_there_are_named(tmp_path: Path) -> None:
    file = write_suite(tmp_path, sums(1))
    (tmp_path / "cases.jsonl").unlink()
    with pytest.raises(SuiteError, match=r"cases\.jsonl"):
        load_suite(file, READING)


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"prompt": "?"}\n' * 100)[:40])
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(file, READING)


@given(st.permutations(range(12)))
def test_the_order_of_the_lines_changes_no_hash(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    lines = [
        *sums(10),
        {"prompt": "0 + 0?", "reference": 0, "slice": "even"},
        {"prompt": "0 + 0?", "reference": 9},
    ]
    folder = tmp_path_factory.mktemp("suite")
    before, after = read(folder / "a", lines), read(folder / "b", [lines[i] for i in order])
    assert before.hash == after.hash
    assert {case.id: case.key for case in before.cases} == {case.id: case.key for case in after.cases}


def _changed(**changes: Any) -> list[dict[str, Any]]:
    first, *rest = sums(5)
    return [{**first, **changes}, *rest]


@pytest.mark.parametrize(
    "lines",
    [
        _changed(prompt="Another?"),
        _changed(reference=7),
        _changed(slice="other"),
        _changed(check="exact"),
        _changed(temperature=1.0),
        sums(6),
    ],
)
def test_whatever_is_asked_or_scored_otherwise_changes_the_hash(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    assert read(tmp_path / "a", sums(5)).hash != read(tmp_path / "b", lines).hash


def test_how_it_is_scored_changes_the_hash_but_not_that_of_the_cases(tmp_path: Path) -> None:
    before = read(tmp_path / "a", sums(5))
    looser = read(tmp_path / "b", sums(5), checks=CHECKS.replace('"number"\n', '"number"\nabsolute = 1\n', 1))
    partial = read(tmp_path / "c", sums(5), head="partial_credit = true")
    assert len({before.hash, looser.hash, partial.hash}) == 3
    assert before.cases_hash == looser.cases_hash == partial.cases_hash


def test_what_scores_nothing_does_not_change_the_hash(tmp_path: Path) -> None:
    before = read(tmp_path / "a", sums(5), head='name = "one"')
    after = read(
        tmp_path / "b",
        sums(5),
        head='name = "two"\nbaseline = "x"',
        checks='[checks.number]\nkind = "number"\n',
    )
    assert before.hash == after.hash


def test_frozen_cases_that_were_changed_are_refused(tmp_path: Path) -> None:
    frozen = read(tmp_path, sums(5)).cases_hash
    head = f'cases_hash = "{frozen}"'
    assert read(tmp_path, sums(5), head=head).cases_hash == frozen
    with pytest.raises(SuiteError, match="not those that were frozen"):
        read(tmp_path, sums(6), head=head)


def test_a_limit_draws_the_same_cases_whatever_their_order(tmp_path: Path) -> None:
    def drawn(name: str, lines: list[dict[str, Any]], seed: int) -> set[str]:
        reading = Reading(tasks={}, limit=20, seed=seed)
        return {case.id for case in load_suite(write_suite(tmp_path / name, lines), reading).cases}

    lines = sums(100)
    shuffled = random.Random(5).sample(lines, len(lines))
    assert drawn("a", lines, 1) == drawn("b", shuffled, 1)
    assert drawn("a", lines, 1) != drawn("a", lines, 2)
    assert len(drawn("a", lines, 1)) == 20


def test_duplicates_are_grouped(tmp_path: Path) -> None:
    lines = [
        {"prompt": "What is up?", "reference": 1},
        {"prompt": "what  is UP?", "reference": 2},
        {"prompt": "Else?", "reference": 3},
    ]
    suite = read(tmp_path, lines)
    (group,) = suite.duplicates
    assert [case.line for case in group] == [1, 2]
    assert len({case.id for case in suite.cases}) == 3


def test_a_line_twice_over_is_two_cases_with_two_ids(tmp_path: Path) -> None:
    suite = read(tmp_path, sums(1) * 2)
    first, second = (case.id for case in suite.cases)
    assert second == f"{first}-2"


def test_a_case_without_a_check_is_the_judges(tmp_path: Path) -> None:
    def judged(judges: dict[str, JudgeSettings]) -> Suite:
        file = tmp_path / "cases.jsonl"
        file.write_text(json.dumps({"prompt": "Write a poem."}) + "\n")
        return load_suite(file, Reading(tasks={"default": TaskSettings(judges=judges)}))

    with pytest.raises(SuiteError, match="nothing scores it"):
        judged({})
    helpful = JudgeSettings(model="m", kind="single")
    suite = judged({"helpful": helpful})
    assert suite.cases[0].check is None
    assert suite.judge == ("helpful", helpful)
    stricter = JudgeSettings(model="m", kind="single", rubric="It rhymes.")
    assert judged({"helpful": stricter}).hash != suite.hash
