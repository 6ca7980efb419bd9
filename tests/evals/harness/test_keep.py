"""Evaluations in the ledger: kept once, found by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from evals.harness.form import Evaluation, to_json
from evals.harness.keep import find_evaluation, has_run, keep_evaluation, kept_evaluations
from evals.harness.text import kept_lines
from stepdown.errors import SuiteError
from stepdown.ledger import Ledger
from tests.evals.harness.suites import evaluated, read, sums

ON_BOTH_DATABASES = True


@pytest.fixture
def good(tmp_path: Path) -> Evaluation:
    return evaluated(read(tmp_path / "suite", sums(4), head='name = "mine"'), {"a": [1.0] * 4})


@pytest.fixture
def bad(tmp_path: Path) -> Evaluation:
    return evaluated(read(tmp_path / "suite", sums(4), head='name = "mine"'), {"a": [0.0] * 4})


def test_the_same_is_kept_once_and_the_newest_is_what_was_found_last(
    ledger: Ledger, good: Evaluation, bad: Evaluation
) -> None:
    first = keep_evaluation(ledger, good)
    assert keep_evaluation(ledger, good).id == first.id
    keep_evaluation(ledger, bad)
    keep_evaluation(ledger, good)
    assert len(kept_evaluations(ledger)) == 3
    assert find_evaluation(ledger, "newest") == good
    assert find_evaluation(ledger, "previous") == bad
    assert find_evaluation(ledger, first.id[:8]) == good


def test_previous_is_of_the_same_suite(
    ledger: Ledger, good: Evaluation, bad: Evaluation, tmp_path: Path
) -> None:
    keep_evaluation(ledger, bad)
    other = evaluated(read(tmp_path / "other", sums(3), head='name = "other"'), {"a": [1.0] * 3})
    keep_evaluation(ledger, other)
    keep_evaluation(ledger, good)
    assert find_evaluation(ledger, "previous") == bad
    assert find_evaluation(ledger, "newest", "default") == good
    with pytest.raises(SuiteError, match="no newest evaluation"):
        find_evaluation(ledger, "newest", "another task")


def test_a_file_is_an_evaluation_too(ledger: Ledger, good: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(to_json(good))
    assert find_evaluation(None, str(file)) == good
    with pytest.raises(SuiteError, match=r"none\.json' cannot be read"):
        find_evaluation(ledger, str(tmp_path / "none.json"))


@pytest.mark.parametrize("name", ["newest", "previous", "abcd", "a", ""])
def test_what_is_not_there_is_said(ledger: Ledger, name: str) -> None:
    with pytest.raises(SuiteError, match="stepdown eval"):
        find_evaluation(ledger, name)


def test_who_has_run_a_suite_is_read_from_the_summaries(ledger: Ledger, good: Evaluation) -> None:
    keep_evaluation(ledger, good)
    identity = good.column("a").identity
    kept = kept_evaluations(ledger)
    assert has_run(kept, good.suite.hash, identity)
    assert not has_run(kept, good.suite.hash, "another")
    assert not has_run(kept, "another", identity)


@pytest.mark.parametrize("change", [{"incomplete": True}, {"kind": "variant"}])
def test_half_a_run_and_a_trial_are_no_run(
    ledger: Ledger, good: Evaluation, change: dict[str, object]
) -> None:
    columns = [structs.replace(column, **change) for column in good.columns]
    keep_evaluation(ledger, structs.replace(good, columns=columns))
    assert not has_run(kept_evaluations(ledger), good.suite.hash, good.column("a").identity)


def test_the_list_names_each_with_its_quality(ledger: Ledger, good: Evaluation) -> None:
    assert "no evaluation yet" in "\n".join(kept_lines(kept_evaluations(ledger)))
    kept = keep_evaluation(ledger, good)
    text = "\n".join(kept_lines(kept_evaluations(ledger)))
    assert kept.id[:12] in text
    assert "a 100.0%" in text
    assert "n=4" in text
