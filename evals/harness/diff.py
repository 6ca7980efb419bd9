"""Two evaluations of one suite compared: did anything get worse? What a team's CI asks. Pure.

Invariant: where nothing changed but chance, a regression is found in at most a share alpha of comparisons,
over all models and slices together. Evaluations of different suites are never compared by accident.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.harness.compare import Groups, Tested, compare_pair, mean_with_intervals, scores_of
from evals.harness.form import CaseLine, Evaluation, Sample
from evals.harness.measure import NO_SLICE, mean_score
from evals.metrics.holm import holm
from evals.metrics.intervals import Estimate, Floats, paired_difference
from evals.metrics.quantile import quantile
from evals.metrics.sign_flip import sign_flip
from stepdown.errors import NotEnoughEvidence, SuiteError

ALPHA = 0.05
ALLOWED_MISSING = 0.05
HALVINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as a regression.

    Attributes:
        models: Columns to compare; empty takes all that both evaluations have.
        alpha: Largest probability of finding a regression where there is none.
        margin: A loss of quality up to this is none.
        slices: Look at each slice too, as further comparisons.
        intersection: Compare the cases that both have, where the suites differ.
        allowed_missing: Largest share of cases that may lack a score on either side.
    """

    models: Sequence[str] = ()
    alpha: float = ALPHA
    margin: float = 0.0
    slices: bool = False
    intersection: bool = False
    allowed_missing: float = ALLOWED_MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """How one model did on one part of the suite: after against before.

    Attributes:
        slice: None for the whole suite.
        p: One-sided, of a loss of more than the margin; `p_holm` is corrected over all changes.
        regressed: Whether that is significant.
    """

    model: str
    slice: str | None
    tested: Tested
    p: float
    p_holm: float
    regressed: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What else changed for one model.

    Attributes:
        worse: Ids of the cases that it answers worse now; `better`: better now.
        missing: Cases that lack a score on either side, and so count for nothing.
        cost_per_1000: After minus before, in micro-dollars, on the cases priced in both; None if none is.
        latency_p50_ms: Before and after; None where not measured. Likewise `latency_p95_ms`.
    """

    model: str
    worse: Sequence[str]
    better: Sequence[str]
    missing: int
    cost_per_1000: Estimate | None
    latency_p50_ms: tuple[Estimate, Estimate] | None
    latency_p95_ms: tuple[Estimate, Estimate] | None


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes.

    Attributes:
        cases: Cases compared.
        left_out: Cases of either evaluation that the other one lacks.
    """

    before: Evaluation
    after: Evaluation
    rules: Rules
    cases: int
    left_out: int
    changes: Sequence[Change]
    moved: Sequence[Moved]

    @property
    def regressions(self) -> list[Change]:
        """The changes for the worse that are significant."""
        return [change for change in self.changes if change.regressed]


def compare_evaluations(before: Evaluation, after: Evaluation, rules: Rules) -> Diff:
    """Compare two evaluations, case by case.

    Raises:
        SuiteError: They are of different suites, or have no model or no case in common.
        NotEnoughEvidence: Too many cases lack a score for a verdict.
    """
    _refuse_other_baseline(before, after)
    pairs = _paired(before, after, rules)
    models = _models(before, after, rules)
    parts = list(_parts(pairs, models, rules))
    tested = [(model, kind, some, *_tested(some, model, rules, len(parts))) for model, kind, some in parts]
    corrected = holm([p for *_, p in tested])
    changes = [
        Change(model, kind, one, p, p_holm, p_holm <= rules.alpha)
        for (model, kind, _, one, p), p_holm in zip(tested, corrected, strict=True)
    ]
    moved = [_moved(pairs, model) for model in models]
    for one in moved:
        _refuse_too_few(one, len(pairs), rules)
    left_out = len(before.cases) + len(after.cases) - 2 * len(pairs)
    return Diff(before, after, rules, len(pairs), left_out, changes, moved)


def _refuse_other_baseline(before: Evaluation, after: Evaluation) -> None:
    bases = [evaluation.column(evaluation.baseline) for evaluation in (before, after)]
    if "pairwise" in (before.judge, after.judge) and bases[0].identity != bases[1].identity:
        raise SuiteError(
            f"a pairwise judge compared the answers before with those of {bases[0].model!r}, and after with "
            f"those of {bases[1].model!r}: the scores do not compare; run both with one baseline"
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """One case before and after: the samples of each column."""

    case: CaseLine
    before: Mapping[str, Sequence[Sample]]
    after: Mapping[str, Sequence[Sample]]


def _paired(before: Evaluation, after: Evaluation, rules: Rules) -> list[_Pair]:
    if before.suite.hash != after.suite.hash and not rules.intersection:
        raise SuiteError(
            f"the evaluations are of different suites: {before.suite.name} {before.suite.hash[:12]} and "
            f"{after.suite.name} {after.suite.hash[:12]}; run one suite for both, or compare the cases that "
            "they share with --intersection"
        )
    known = {(case.id, case.key): case for case in before.cases}
    pairs = [
        _Pair(case, columns_of(known[case.id, case.key], before), columns_of(case, after))
        for case in after.cases
        if (case.id, case.key) in known
    ]
    if not pairs:
        raise SuiteError("the evaluations have no case in common; run one suite for both")
    return pairs


def columns_of(case: CaseLine, evaluation: Evaluation) -> dict[str, Sequence[Sample]]:
    """The samples of a case by column, a policy's being those of the model that it chooses."""
    samples: dict[str, Sequence[Sample]] = dict(case.samples)
    for column in evaluation.columns:
        if column.kind == "policy":
            strong, small = column.alias.split(" | ")
            samples[column.name] = case.samples[small if case.small else strong]
    return samples


def _models(before: Evaluation, after: Evaluation, rules: Rules) -> list[str]:
    names = [[column.name for column in one.columns] for one in (before, after)]
    common = [name for name in names[1] if name in names[0]]
    for model in rules.models:
        if model not in common:
            raise SuiteError(f"model {model!r} is not in both evaluations; in both: {', '.join(common)}")
    if not common:
        raise SuiteError(f"no model is in both evaluations: {', '.join(names[0])}; {', '.join(names[1])}")
    return list(rules.models) or common


def _parts(
    pairs: Sequence[_Pair], models: Sequence[str], rules: Rules
) -> Iterator[tuple[str, str | None, Sequence[_Pair]]]:
    kinds = sorted({pair.case.slice or NO_SLICE for pair in pairs}) if rules.slices else []
    for model in models:
        yield model, None, pairs
        for kind in kinds if len(kinds) > 1 else []:
            yield model, kind, [pair for pair in pairs if (pair.case.slice or NO_SLICE) == kind]


def _tested(pairs: Sequence[_Pair], model: str, rules: Rules, family: int) -> tuple[Tested, float]:
    before, after, groups = _arrays(pairs, model)
    tested = compare_pair(after, before, groups, confidence=1 - rules.alpha, family=family)
    if not rules.margin:
        return tested, tested.p_worse
    both = ~(np.isnan(before) | np.isnan(after))
    a, b, own = after[both], before[both], groups[both]
    if tested.test == "sign_flip":
        return tested, sign_flip(a - b + rules.margin, groups=own).p_worse
    return tested, _beyond_margin(a, b, own, rules.margin)


def _arrays(pairs: Sequence[_Pair], model: str) -> tuple[Floats, Floats, Groups]:
    ids = [pair.case.id for pair in pairs]
    before = scores_of({pair.case.id: mean_score(pair.before[model]) for pair in pairs}, ids)
    after = scores_of({pair.case.id: mean_score(pair.after[model]) for pair in pairs}, ids)
    return before, after, np.array([pair.case.prompt_hash for pair in pairs])


def _beyond_margin(after: Floats, before: Floats, groups: Groups, margin: float) -> float:
    """One-sided p-value of a loss beyond a margin: Newcombe's interval turned round (approximate).

    The smallest alpha at which the upper end of the interval lies below the margin.
    """
    if not after.size or float((after - before).mean()) >= -margin:
        return 1.0
    low, high = 0.0, 0.5
    for _ in range(HALVINGS):
        alpha = (low + high) / 2
        loses = paired_difference(after, before, 1 - 2 * alpha, groups=groups).high < -margin
        low, high = (low, alpha) if loses else (alpha, high)
    return high


def _moved(pairs: Sequence[_Pair], model: str) -> Moved:
    before, after, groups = _arrays(pairs, model)
    missing = int((np.isnan(before) | np.isnan(after)).sum())
    ids = [pair.case.id for pair in pairs]
    return Moved(
        model,
        [ids[i] for i in np.flatnonzero(after < before)],
        [ids[i] for i in np.flatnonzero(after > before)],
        missing,
        _cost_change(pairs, model, groups),
        _times(pairs, model, 0.5),
        _times(pairs, model, 0.95),
    )


def _cost_change(pairs: Sequence[_Pair], model: str, groups: Groups) -> Estimate | None:
    changes = np.array([_cost(pair.after[model]) - _cost(pair.before[model]) for pair in pairs])
    known = ~np.isnan(changes)
    if not known.any():
        return None
    return mean_with_intervals(changes[known] * 1000, groups[known], [0.95])[0]


def _cost(samples: Sequence[Sample]) -> float:
    costs = [sample.cost_usd_micros for sample in samples if sample.cost_usd_micros is not None]
    return sum(costs) / len(costs) if costs else math.nan


def _times(pairs: Sequence[_Pair], model: str, share: float) -> tuple[Estimate, Estimate] | None:
    before = [s.latency_ms for pair in pairs for s in pair.before[model] if s.latency_ms is not None]
    after = [s.latency_ms for pair in pairs for s in pair.after[model] if s.latency_ms is not None]
    return (quantile(before, share), quantile(after, share)) if before and after else None


def _refuse_too_few(moved: Moved, cases: int, rules: Rules) -> None:
    if moved.missing > rules.allowed_missing * cases:
        raise NotEnoughEvidence(
            f"model {moved.model!r}: {moved.missing} of {cases} cases lack a score before or after, more "
            f"than the {rules.allowed_missing:.0%} allowed, and a regression could hide in them; run the "
            "suite again, or raise --allow-missing"
        )
