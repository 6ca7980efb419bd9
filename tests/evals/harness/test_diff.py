"""Differences of two evaluations: what is a regression, and how often chance is called one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from evals.harness.diff import Diff, Rules, compare_evaluations
from evals.harness.form import Evaluation, Sample
from evals.harness.policy import PolicyColumn
from evals.harness.suite import Suite
from evals.harness.text import diff_lines
from stepdown.errors import NotEnoughEvidence, SuiteError
from tests.evals.harness.suites import evaluated, read, sums


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return read(tmp_path_factory.mktemp("suite"), sums(400))


def noisy(suite: Suite, quality: float, seed: int) -> list[float]:
    """Scores of a model that gets a case right by chance."""
    generator = np.random.default_rng(seed)
    return [float(x) for x in generator.random(len(suite.cases)) < quality]


def worse_by(scores: Sequence[float], share: float) -> list[float]:
    """The same scores with so large a share of all cases turned from right to wrong."""
    turned = list(scores)
    right = [i for i, score in enumerate(scores) if score == 1][: round(share * len(scores))]
    for i in right:
        turned[i] = 0.0
    return turned


def rescored(template: Evaluation, scores: Mapping[str, Any]) -> Evaluation:
    """An evaluation with other scores, its columns left as they are: quick, for simulations."""
    cases = [
        structs.replace(
            case,
            samples={n: [Sample(score=float(s[i]), why="", answered=True)] for n, s in scores.items()},
        )
        for i, case in enumerate(template.cases)
    ]
    return structs.replace(template, cases=cases)


def compared(before: Evaluation, after: Evaluation, **rules: object) -> Diff:
    return compare_evaluations(before, after, Rules(**rules))  # type: ignore[arg-type]


def test_a_planted_regression_of_a_few_percent_is_found(suite: Suite) -> None:
    scores = noisy(suite, 0.8, 1)
    before = evaluated(suite, {"a": scores, "b": scores})
    after = evaluated(suite, {"a": scores, "b": worse_by(scores, 0.03)})
    diff = compared(before, after)
    (regression,) = diff.regressions
    assert (regression.model, regression.slice) == ("b", None)
    assert regression.tested.difference.value == pytest.approx(-0.03)
    moved = {one.model: one for one in diff.moved}
    assert len(moved["b"].worse) == 12
    assert moved["a"].worse == moved["b"].better == []
    text = "\n".join(diff_lines(diff))
    assert "REGRESSION: b (alpha 0.05" in text
    assert moved["b"].worse[0] in text


def test_an_improvement_is_no_regression(suite: Suite) -> None:
    scores = noisy(suite, 0.8, 1)
    diff = compared(evaluated(suite, {"a": worse_by(scores, 0.1)}), evaluated(suite, {"a": scores}))
    assert diff.regressions == []
    assert len(diff.moved[0].better) == 40


@pytest.mark.parametrize("slices", [False, True])
def test_chance_is_called_a_regression_in_at_most_alpha_of_runs(tmp_path: Path, slices: bool) -> None:
    small = read(tmp_path, sums(80))
    template = evaluated(small, {"a": [1.0] * 80, "b": [1.0] * 80})
    wrong, runs = 0, 400
    for seed in range(0, 4 * runs, 4):
        before = {"a": noisy(small, 0.8, seed), "b": noisy(small, 0.8, seed + 1)}
        after = {"a": noisy(small, 0.8, seed + 2), "b": noisy(small, 0.8, seed + 3)}
        diff = compared(rescored(template, before), rescored(template, after), slices=slices)
        wrong += bool(diff.regressions)
    assert wrong / runs <= 0.05


def test_chance_in_graded_scores_is_called_a_regression_in_at_most_alpha_of_runs(tmp_path: Path) -> None:
    template = evaluated(read(tmp_path, sums(40)), {"a": [1.0] * 40})
    generator = np.random.default_rng(0)
    wrong, runs = 0, 120
    for _ in range(runs):
        before, after = (generator.choice([0, 0.5, 1], size=40).tolist() for _ in range(2))
        wrong += bool(
            compared(rescored(template, {"a": before}), rescored(template, {"a": after})).regressions
        )
    assert wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_a_loss_within_the_margin_is_none(suite: Suite) -> None:
    scores = noisy(suite, 0.8, 1)
    before, after = evaluated(suite, {"a": scores}), evaluated(suite, {"a": worse_by(scores, 0.05)})
    assert compared(before, after).regressions
    assert not compared(before, after, margin=0.05).regressions
    assert compared(before, after, margin=0.02).regressions
    large = evaluated(suite, {"a": worse_by(scores, 0.15)})
    assert compared(before, large, margin=0.05).regressions
    assert "of more than 5.0%" in "\n".join(diff_lines(compared(before, large, margin=0.05)))


def test_the_margin_errs_in_at_most_alpha_of_runs_at_its_edge(tmp_path: Path) -> None:
    template = evaluated(read(tmp_path, sums(150)), {"a": [1.0] * 150})
    generator = np.random.default_rng(4)
    wrong, runs = 0, 200
    for _ in range(runs):
        before = (generator.random(150) < 0.8).astype(float)
        lost = (generator.random(150) < 0.1 / 0.8) & (before == 1)
        pair = [rescored(template, {"a": x}) for x in (before, np.where(lost, 0.0, before))]
        wrong += bool(compared(*pair, margin=0.1).regressions)
    assert wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_a_regression_in_one_slice_is_found_there(suite: Suite) -> None:
    scores = [1.0] * 400
    after = [0.0 if case.slice == "odd" and i < 40 else 1.0 for i, case in enumerate(suite.cases)]
    diff = compared(evaluated(suite, {"a": scores}), evaluated(suite, {"a": after}), slices=True)
    assert {change.slice for change in diff.regressions} == {None, "odd"}
    assert len(diff.changes) == 3


def test_a_repeated_prompt_is_one_piece_of_evidence(tmp_path: Path) -> None:
    repeated = read(tmp_path, sums(2) * 20)
    before, after = evaluated(repeated, {"a": [1.0] * 40}), evaluated(repeated, {"a": [0.0] * 40})
    (change,) = compared(before, after).changes
    assert (change.tested.worse, change.regressed) == (2, False)


def test_other_suites_are_refused(suite: Suite, tmp_path: Path) -> None:
    other = read(tmp_path, sums(401))
    before, after = evaluated(suite, {"a": [1.0] * 400}), evaluated(other, {"a": [1.0] * 401})
    with pytest.raises(SuiteError, match=r"different suites(?s:.*)--intersection"):
        compared(before, after)
    diff = compared(before, after, intersection=True)
    assert (diff.cases, diff.left_out) == (400, 1)


def test_a_case_whose_reference_changed_is_not_in_both(suite: Suite, tmp_path: Path) -> None:
    lines = [
        {"id": "one", "prompt": "1 + 1?", "reference": 2},
        {"id": "two", "prompt": "2 + 2?", "reference": 4},
    ]
    changed = [{**lines[0], "reference": 3}, lines[1]]
    before, after = read(tmp_path / "a", lines), read(tmp_path / "b", changed)
    pair = [evaluated(one, {"a": [1.0, 1.0]}) for one in (before, after)]
    assert compared(*pair, intersection=True).cases == 1
    with pytest.raises(SuiteError, match="no case in common"):
        compared(pair[0], evaluated(suite, {"a": [1.0] * 400}), intersection=True)


def test_models_that_are_not_in_both_are_named(suite: Suite) -> None:
    before, after = evaluated(suite, {"a": [1.0] * 400}), evaluated(suite, {"b": [1.0] * 400})
    with pytest.raises(SuiteError, match="no model is in both"):
        compared(before, after)
    with pytest.raises(SuiteError, match="'b' is not in both"):
        compared(before, before, models=("b",))


def test_a_model_that_stopped_answering_passes_no_gate(suite: Suite) -> None:
    before = evaluated(suite, {"a": [1.0] * 400})
    lost: list[float | None] = [None] * 40 + [1.0] * 360
    with pytest.raises(NotEnoughEvidence, match="40 of 400 cases lack a score"):
        compared(before, evaluated(suite, {"a": lost}))
    diff = compared(before, evaluated(suite, {"a": lost}), allowed_missing=0.1)
    assert (diff.moved[0].missing, diff.changes[0].tested.difference.n) == (40, 360)


def test_a_policy_is_compared_by_what_it_chose(suite: Suite) -> None:
    ids = [case.id for case in suite.cases]

    def with_policy(small: frozenset[str]) -> Evaluation:
        policy = PolicyColumn("r" * 64, "a", "b", small, 0)
        return evaluated(suite, {"a": [1.0] * 400, "b": [0.0] * 400}, policy=policy)

    diff = compared(with_policy(frozenset()), with_policy(frozenset(ids[:20])), models=("policy",))
    assert diff.moved[0].worse == ids[:20]
    assert diff.regressions


def test_costs_and_times_are_compared(suite: Suite) -> None:
    scores = [1.0] * 400
    diff = compared(
        evaluated(suite, {"a": scores}, cost={"a": 100}), evaluated(suite, {"a": scores}, cost={"a": 150})
    )
    cost = diff.moved[0].cost_per_1000
    assert cost is not None
    assert (cost.value, cost.low, cost.high) == (50_000, 50_000, 50_000)
    text = "\n".join(diff_lines(diff))
    assert "cost per 1,000: +$0.0500" in text
    assert "latency p50: 10 [10, 10] -> 10 [10, 10] ms" in text
