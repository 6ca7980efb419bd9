"""The gate: what passes, which line stops what, what is not measured; false passes and false stops."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from distill.gate import (
    GENERAL,
    LATENCY,
    SAMPLE,
    Calls,
    Criterion,
    Economy,
    Evidence,
    Outcome,
    Pairs,
    Rules,
    Timed,
    Verdict,
    decide,
    net_saving,
)
from distill.verdict import SAVING, as_values, from_values
from evals.metrics.intervals import Estimate
from evals.metrics.noninferiority import p_worse

RULES = Rules(margin=0.1, general_margin=0.1)
PAID = Economy(
    requests_per_day=1000.0,
    coverage=Estimate(0.4, 0.3, 0.5, 200),
    coverage_from="said so",
    strong=np.full(40, 1000.0),
    small=np.full(40, 100.0),
    exploration=0.05,
    spent=2_000_000,
)
STEADY = Timed(np.linspace(90.0, 110.0, 60), np.linspace(90.0, 110.0, 60))


def pairs(better: int, worse: int, both: int, *, kind: str = "all", name: str = "p") -> Pairs:
    """Questions on which the candidate alone is right, the incumbent alone, and both are."""
    candidate = [1.0] * better + [0.0] * worse + [1.0] * both
    incumbent = [0.0] * better + [1.0] * worse + [1.0] * both
    prompts = [f"{kind} {name} {i}" for i in range(len(candidate))]
    return Pairs(
        np.array(candidate), np.array(incumbent), np.array(prompts), np.array([kind] * len(candidate))
    )


def joined(*parts: Pairs) -> Pairs:
    columns = ("candidate", "incumbent", "prompts", "slices")
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))  # type: ignore[arg-type]


GOOD = Evidence(
    candidate="c" * 64,
    incumbent=None,
    sample=joined(pairs(8, 1, 60, kind="sums"), pairs(6, 2, 60, kind="words")),
    calls=Calls(137, 1),
    timed=STEADY,
    economy=PAID,
    suites={"held": pairs(3, 1, 40)},
    general=pairs(1, 1, 80),
)


def line(verdict: Verdict, name: str) -> Criterion:
    return next(one for one in verdict.criteria if one.name == name)


def stopped_by(evidence: Evidence, rules: Rules = RULES) -> dict[str, Outcome]:
    verdict = decide(evidence, rules)
    found = {one.name: one.outcome for one in verdict.criteria if one.stops}
    assert verdict.passed is not bool(found)
    assert all(any(reason.startswith(name) for reason in verdict.reasons) for name in found)
    return found


def test_a_candidate_that_is_better_throughout_passes() -> None:
    verdict = decide(GOOD, RULES)
    assert verdict.passed
    assert verdict.reasons == ()
    assert [one.name for one in verdict.criteria] == [
        SAMPLE,
        "slice sums",
        "slice words",
        "suite held",
        GENERAL,
        "failed calls",
        LATENCY,
        SAVING,
    ]
    sample = line(verdict, SAMPLE)
    assert (sample.n, sample.limit) == (137, -0.1)
    assert sample.estimate == pytest.approx(11 / 137)
    assert sample.low is not None
    assert -0.1 < sample.low < 11 / 137
    assert sample.p is not None
    assert sample.p <= 0.05


def test_one_that_is_worse_overall_is_stopped() -> None:
    worse = replace(GOOD, sample=pairs(2, 30, 105))
    assert stopped_by(worse) == {SAMPLE: Outcome.FAILED}


def test_a_loss_in_one_slice_is_not_made_up_for_by_the_others() -> None:
    hidden = joined(pairs(30, 0, 200, kind="sums"), pairs(0, 20, 10, kind="words"))
    assert stopped_by(replace(GOOD, sample=hidden)) == {"slice words": Outcome.FAILED}


def test_a_loss_in_a_suite_stops_it() -> None:
    assert stopped_by(replace(GOOD, suites={"held": pairs(0, 20, 20)})) == {"suite held": Outcome.FAILED}


def test_a_slice_too_small_to_say_is_told_and_stops_nobody() -> None:
    verdict = decide(replace(GOOD, sample=joined(GOOD.sample, pairs(0, 2, 0, kind="rare"))), RULES)
    rare = line(verdict, "slice rare")
    assert (rare.outcome, rare.seen, rare.p) == (Outcome.TOO_SMALL, None, None)
    assert verdict.passed
    assert "too small to say" in verdict.reason


def test_a_slice_says_which_loss_would_have_been_seen() -> None:
    seen = line(decide(GOOD, RULES), "slice sums").seen
    assert seen is not None
    assert 0.1 < seen < 0.4
    wider = line(
        decide(replace(GOOD, sample=joined(pairs(8, 1, 300, kind="sums"), pairs(6, 2, 60))), RULES),
        "slice sums",
    )
    assert wider.seen is not None
    assert wider.seen < seen


def test_a_suite_that_could_not_be_run_keeps_it_out() -> None:
    broken = replace(GOOD, suites={"held": Pairs.none("suite 'held' cannot be read")})
    assert stopped_by(broken) == {"suite held": Outcome.UNMEASURED}
    assert "cannot be read" in decide(broken, RULES).reason


def test_a_regression_of_the_general_suite_stops_it() -> None:
    assert stopped_by(replace(GOOD, general=pairs(0, 12, 70))) == {GENERAL: Outcome.FAILED}
    assert stopped_by(replace(GOOD, general=pairs(0, 0, 10))) == {GENERAL: Outcome.UNMEASURED}
    assert stopped_by(replace(GOOD, general=None)) == {}


@pytest.mark.parametrize("n", [0, 1, 20])
def test_too_few_prompts_do_not_pass_and_it_says_how_many_are_needed(n: int) -> None:
    few = replace(GOOD, sample=pairs(0, 0, n), calls=Calls(20, 0))
    assert stopped_by(few) == {SAMPLE: Outcome.UNMEASURED}
    sample = line(decide(few, RULES), SAMPLE)
    assert sample.needed is not None
    assert sample.needed >= 29
    enough = decide(replace(GOOD, sample=pairs(0, 0, sample.needed)), RULES)
    assert line(enough, SAMPLE).outcome is Outcome.PASSED


def test_what_lacks_a_label_is_left_out_and_counted() -> None:
    lost = joined(GOOD.sample, replace(pairs(0, 0, 50, name="q"), candidate=np.full(50, np.nan)))
    sample = line(decide(replace(GOOD, sample=lost), RULES), SAMPLE)
    assert (sample.n, sample.unscored) == (137, 50)
    assert sample.estimate == line(decide(GOOD, RULES), SAMPLE).estimate


def test_a_prompt_that_is_asked_often_counts_once() -> None:
    asked_often = joined(pairs(0, 0, 20), *[pairs(1, 0, 0, name="again")] * 200)
    assert line(decide(replace(GOOD, sample=asked_often), RULES), SAMPLE).n == 21


def test_failed_calls_stop_it() -> None:
    assert stopped_by(replace(GOOD, calls=Calls(100, 20))) == {"failed calls": Outcome.FAILED}
    assert stopped_by(replace(GOOD, calls=Calls(0, 0))) == {"failed calls": Outcome.UNMEASURED}


def test_one_that_is_clearly_slower_is_stopped_and_one_that_may_be_is_not() -> None:
    slow = Timed(STEADY.candidate * 3, STEADY.incumbent)
    assert stopped_by(replace(GOOD, timed=slow)) == {LATENCY: Outcome.FAILED}
    one_slow = Timed(np.append(STEADY.candidate, 900.0), np.append(STEADY.incumbent, 100.0))
    assert stopped_by(replace(GOOD, timed=one_slow)) == {}
    untimed = Timed(np.ones(5), np.ones(5))
    assert stopped_by(replace(GOOD, timed=untimed)) == {LATENCY: Outcome.UNMEASURED}


def test_the_saving_must_exceed_what_the_candidate_cost() -> None:
    verdict = decide(GOOD, RULES)
    saving = line(verdict, SAVING)
    assert saving.estimate == pytest.approx(1000 * 30 * (0.4 * 0.95 * 900 - 0.05 * 100))
    assert saving.estimate is not None
    assert saving.low is not None
    assert saving.high is not None
    assert saving.low < saving.estimate < saving.high
    assert verdict.net_usd_micros == pytest.approx(saving.estimate - 2_000_000)
    dear = replace(GOOD, economy=replace(PAID, spent=20_000_000))
    assert stopped_by(dear) == {SAVING: Outcome.FAILED}
    rented = replace(GOOD, economy=replace(PAID, rent_per_day=400_000.0))
    assert stopped_by(rented) == {SAVING: Outcome.FAILED}


def test_a_saving_that_cannot_be_known_is_not_measured() -> None:
    unpriced = replace(GOOD, economy=replace(PAID, small=np.full(40, np.nan)))
    assert stopped_by(unpriced) == {SAVING: Outcome.UNMEASURED}
    assert math.isnan(decide(unpriced, RULES).net_usd_micros)
    uncovered = replace(
        GOOD, economy=replace(PAID, coverage=None, coverage_from="12 are labelled, 59 are needed")
    )
    assert "59 are needed" in line(decide(uncovered, RULES), SAVING).reason


def test_more_coverage_saves_more() -> None:
    values = [net_saving(PAID, Estimate(c, c, c, 9), RULES).value for c in (0.0, 0.2, 0.9)]
    assert values == sorted(values)
    assert values[0] < 0 < values[1]


def test_a_verdict_can_be_kept_as_json_and_read_again() -> None:
    few = replace(GOOD, sample=Pairs.none("nobody was asked"), timed=Timed(np.empty(0), np.empty(0)))
    for evidence in (GOOD, few):
        verdict = decide(evidence, RULES)
        assert from_values(json.loads(json.dumps(as_values(verdict), allow_nan=False))) == verdict


LIGHT = replace(GOOD, suites={}, general=None)


@cache
def passes(better: int, worse: int, n: int) -> bool:
    return decide(replace(LIGHT, sample=pairs(better, worse, n - better - worse)), RULES).passed


def share_that_passes(better: float, worse: float, *, n: int = 40, runs: int = 300) -> float:
    drawn = np.random.default_rng(3).multinomial(n, [better, worse, 1 - better - worse], size=runs)
    return float(np.mean([passes(int(b), int(c), n) for b, c, _ in drawn]))


@pytest.mark.parametrize("better", [0.0, 0.05])
def test_a_candidate_that_is_the_margin_worse_passes_with_alpha_at_most(better: float) -> None:
    assert share_that_passes(better, better + RULES.margin) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_a_candidate_that_is_better_mostly_passes() -> None:
    assert share_that_passes(0.2, 0.02) > 0.95


def slices_stop(slices: Sequence[tuple[int, int]], n: int) -> bool:
    parts = [pairs(b, c, n - b - c, kind=f"kind {i}") for i, (b, c) in enumerate(slices)]
    verdict = decide(replace(LIGHT, sample=joined(*parts)), RULES)
    return any(one.outcome is Outcome.FAILED for one in verdict.criteria if one.name.startswith("slice"))


def test_slices_that_all_lose_just_the_margin_stop_it_with_alpha_at_most_over_all_of_them() -> None:
    """Simulated at the level at which one slice of six stops it, to which `decide` is held."""
    n, slices, runs = 12, 6, 4000
    level = RULES.alpha / slices
    p_of = cache(lambda b, c: p_worse(np.repeat([1.0, -1.0, 0.0], [b, c, n - b - c]), RULES.margin))
    drawn = np.random.default_rng(4).multinomial(n, [0.05, 0.15, 0.8], size=(runs, slices))
    lowest = [min(p_of(int(b), int(c)) for b, c, _ in run) for run in drawn]
    assert np.mean(np.array(lowest) <= level) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    for run, p in sorted(zip(drawn.tolist(), lowest, strict=True), key=lambda one: one[1])[::1000]:
        assert slices_stop([(b, c) for b, c, _ in run], n) == (p <= level)


def test_without_the_correction_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    unlucky = [(0, 5)] + [(1, 1)] * 5
    assert not slices_stop(unlucky, 12)
    monkeypatch.setattr("distill.gate.holm", list)
    assert slices_stop(unlucky, 12)


def test_rules_are_what_is_judged_by() -> None:
    worse = replace(GOOD, sample=pairs(2, 30, 105))
    assert decide(worse, replace(RULES, margin=0.4)).passed
