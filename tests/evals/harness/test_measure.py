"""The evaluation as computed from scores: columns, comparisons, slices, suspicions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.harness.compare import compare_pair, scores_of
from evals.harness.form import from_json, to_json
from evals.harness.policy import PolicyColumn
from evals.harness.suite import Suite
from evals.harness.text import evaluation_lines
from evals.metrics.intervals import clopper_pearson
from stepdown.errors import SuiteError
from tests.evals.harness.suites import evaluated, read, sums


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return read(tmp_path_factory.mktemp("suite"), sums(40))


def test_a_column_counts_what_is_scored_failed_and_paid(suite: Suite) -> None:
    found = evaluated(suite, {"a": [1.0] * 30 + [0.0] * 8 + [None] * 2}, cost={"a": 100}).column("a")
    assert (found.scored, found.failed, found.unscored) == (38, 2, 0)
    assert found.quality.value == pytest.approx(30 / 38)
    assert (found.quality.low, found.quality.high) == pytest.approx(clopper_pearson(30, 38))
    assert found.cost_usd_micros == 3800
    assert found.cost_per_1000_usd_micros.value == 100_000
    assert found.latency_p50_ms is not None
    assert found.latency_p50_ms.value == 10


def test_a_cost_that_is_not_known_is_not_zero(suite: Suite) -> None:
    found = evaluated(suite, {"a": [1.0] * 40}, cost={"a": None}).column("a")
    assert (found.unpriced, found.cost_per_1000_usd_micros.value) == (40, None)


def test_comparisons_are_corrected_in_two_families(suite: Suite) -> None:
    scores = {"base": [0.0] * 40, "b": [1.0] * 8 + [0.0] * 32, "c": [1.0] * 6 + [0.0] * 34, "d": [0.0] * 40}
    found = evaluated(suite, scores)
    whole = {c.column: c for c in found.comparisons if c.slice is None}
    assert set(whole) == {"b", "c", "d"}
    assert whole["b"].p == pytest.approx(2 / 2**8)
    assert whole["b"].p_holm == pytest.approx(3 * 2 / 2**8)
    assert whole["c"].p_holm == pytest.approx(2 * 2 / 2**6)
    low, high = whole["b"].difference.low, whole["b"].difference.high
    assert low is not None
    assert high is not None
    assert (whole["b"].joint_low or 0) < low < high < (whole["b"].joint_high or 0)
    by_slice = [c for c in found.comparisons if c.slice is not None]
    assert {(c.slice, c.column) for c in by_slice} == {(k, n) for k in ("even", "odd") for n in "bcd"}
    assert min(c.p_holm / c.p for c in by_slice if c.p < 0.3) >= 3


def test_a_pair_needs_both_scores(suite: Suite) -> None:
    found = evaluated(suite, {"a": [None] * 10 + [1.0] * 30, "b": [0.0] * 20 + [1.0] * 10 + [None] * 10})
    (comparison,) = [c for c in found.comparisons if c.slice is None]
    assert (comparison.difference.n, comparison.better, comparison.worse) == (20, 0, 10)


def test_nothing_in_common_is_no_difference(suite: Suite) -> None:
    found = evaluated(suite, {"a": [None] * 20 + [1.0] * 20, "b": [1.0] * 20 + [None] * 20})
    (comparison,) = [c for c in found.comparisons if c.slice is None]
    assert (comparison.difference.value, comparison.difference.n, comparison.p_holm) == (None, 0, 1.0)
    assert "no data" in "\n".join(evaluation_lines(found))


def test_samples_are_averaged_within_a_case(suite: Suite) -> None:
    found = evaluated(suite, {"a": [[1.0, 0.0]] * 40, "b": [[1.0, 1.0]] * 39 + [[None, 1.0]]})
    assert found.column("a").quality.value == 0.5
    assert found.column("a").cost_usd_micros == 2 * 40 * 100
    (comparison,) = [c for c in found.comparisons if c.slice is None]
    assert (comparison.test, comparison.difference.value) == ("sign_flip", 0.5)


def test_slices_show_the_quality_of_each(suite: Suite) -> None:
    found = evaluated(suite, {"a": [float(case.slice == "even") for case in suite.cases]})
    assert {s.name: (s.cases, s.quality["a"].value) for s in found.slices} == {
        "even": (20, 1),
        "odd": (20, 0),
    }


def test_a_policy_is_the_model_that_it_chooses(suite: Suite) -> None:
    ids = [case.id for case in suite.cases]
    policy = PolicyColumn("f" * 64, "strong", "small", frozenset(ids[:10]), 4)
    scores = {"strong": [1.0] * 40, "small": [1.0] * 5 + [0.0] * 35}
    found = evaluated(suite, scores, policy=policy, cost={"strong": 100, "small": 20})
    column = found.column("policy")
    assert (column.kind, column.identity, column.seen) == ("policy", "f" * 64, 4)
    assert column.quality.value == pytest.approx(35 / 40)
    assert column.cost_usd_micros == 30 * 100 + 10 * 20
    assert column.coverage is not None
    assert column.coverage.value == 0.25
    assert "policy" not in found.cases[0].samples
    assert [case.small for case in found.cases[9:11]] == [True, False]
    text = "\n".join(evaluation_lines(found))
    assert "small answers 25.0%" in text
    assert "flattered" in text


def test_a_reference_that_all_models_contradict_is_listed(suite: Suite) -> None:
    found = evaluated(suite, {"a": [0.0, 0.0] + [1.0] * 38, "b": [0.0, 1.0] + [1.0] * 38})
    (suspicion,) = found.suspicious
    assert (suspicion.case, suspicion.agreeing) == (suite.cases[0].id, ["a", "b"])
    text = "\n".join(evaluation_lines(found))
    assert "every model contradicts" in text.lower()
    assert "a, b agree" in text


@pytest.mark.parametrize("why", ["no number in the answer, wanted 2", "named []", "got '', wanted '2'"])
def test_answers_that_say_nothing_are_no_agreement(suite: Suite, why: str) -> None:
    found = evaluated(suite, {"a": [0.0] * 40, "b": [0.0] * 40}, why=why)
    assert len(found.suspicious) == 40
    assert not any(suspicion.agreeing for suspicion in found.suspicious)
    assert "each in its own way" in "\n".join(evaluation_lines(found))


def test_duplicates_are_listed_and_contradictions_among_them(tmp_path: Path) -> None:
    lines = [{"prompt": "1?", "reference": 1}, {"prompt": "1?", "reference": 2}, *sums(2), *sums(1)]
    found = evaluated(read(tmp_path, lines), {"a": [1.0, 0.0, 1.0, 1.0, 1.0]})
    assert [(len(d.cases), d.contradictory) for d in found.duplicates] == [(2, True), (2, False)]
    assert found.suite.prompts == 3
    assert found.column("a").quality.n == 5


def test_failures_are_listed_with_their_reason(suite: Suite) -> None:
    text = "\n".join(evaluation_lines(evaluated(suite, {"a": [None] + [1.0] * 39})))
    assert "FAILED OR UNSCORED, excluded: 1" in text
    assert f"a: model 'x' answered 500 ({suite.cases[0].id}, line 1)" in text


def test_a_reason_that_many_have_is_listed_once(suite: Suite) -> None:
    text = "\n".join(evaluation_lines(evaluated(suite, {"a": [1.0] + [None] * 39})))
    assert "FAILED OR UNSCORED, excluded: 39" in text
    assert f"a, 39 times: model 'x' answered 500 (first {suite.cases[1].id}, line 2)" in text
    assert text.count("answered 500") == 1


def test_an_evaluation_is_read_back_as_it_was(suite: Suite) -> None:
    found = evaluated(suite, {"a": [1.0] * 40, "b": [None] * 40})
    assert from_json(to_json(found), "x") == found
    assert to_json(found) == to_json(evaluated(suite, {"a": [1.0] * 40, "b": [None] * 40}))


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"{}", "is not an evaluation"), (b'{"form": 99}', "form 99"), (b"\xff", "is not an evaluation")],
)
def test_what_is_no_evaluation_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(SuiteError, match=why):
        from_json(content, "file 'x'")


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, None]), st.sampled_from([0.0, 1.0, None])), max_size=30))
@settings(max_examples=50)
def test_the_interval_holds_the_difference(pairs: list[tuple[float | None, float | None]]) -> None:
    ids = [str(i) for i in range(len(pairs))]
    first, second = (
        scores_of({name: pair[side] for name, pair in zip(ids, pairs, strict=True)}, ids) for side in (0, 1)
    )
    import numpy as np

    found = compare_pair(first, second, np.array(ids, dtype=np.str_), confidence=0.95, family=3)
    if found.difference.n:
        assert found.difference.low <= found.difference.value <= found.difference.high
        assert found.joint.low <= found.difference.low
        assert found.joint.high >= found.difference.high
