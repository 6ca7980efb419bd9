"""From scored answers to the evaluation: columns, comparisons, slices, and what looks wrong. Pure.

Invariant: everything follows from the samples in it, so that the document can be checked against itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from evals.harness import form
from evals.harness.compare import Groups, Tested, compare_pair, corrected, mean_with_intervals, scores_of
from evals.harness.contender import Contender
from evals.harness.policy import PolicyColumn
from evals.harness.scoring import Samples
from evals.harness.suite import Case, Suite
from evals.harness.suspicion import suspicions
from evals.metrics.intervals import Estimate, Floats, mean_outcome, proportion
from evals.metrics.quantile import quantile
from stepdown import __version__
from stepdown.settings import ModelSettings

POLICY = "policy"
PROMPT_CHARS = 300
REFERENCE_CHARS = 200
NO_SLICE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What was tried, and what came of it.

    Attributes:
        samples: By contender and case.
        models: Settings of each contender's model, by alias.
        judge: Kind of the judge that scored what no check does, or None.
        incomplete: Contenders for which another run may get more answers.
        notes: What a reader has to know.
    """

    purpose: str
    suite: Suite
    contenders: Sequence[Contender]
    models: Mapping[str, ModelSettings]
    samples: Samples
    incomplete: frozenset[str]
    policy: PolicyColumn | None
    judge: Literal["pairwise", "single"] | None = None
    baseline: str
    confidence: float
    notes: Sequence[str] = ()


def measure(tried: Tried) -> form.Evaluation:
    """The evaluation of what was tried."""
    suite = tried.suite
    by_case = _with_policy(tried)
    names = [contender.name for contender in tried.contenders] + ([POLICY] if tried.policy else [])
    tables = {name: _Table.of(suite.cases, {i: by_case[i][name] for i in by_case}) for name in names}
    columns = [_column(tried, contender, tables[contender.name]) for contender in tried.contenders]
    if tried.policy:
        columns.append(_policy_column(tried, tried.policy, tables[POLICY]))
    return form.Evaluation(
        purpose="trial" if tried.purpose == "trial" else "eval",
        code_version=__version__,
        suite=_suite_line(suite),
        task=suite.task,
        baseline=tried.baseline,
        judge=tried.judge,
        confidence=tried.confidence,
        columns=columns,
        comparisons=_comparisons(tried, tables),
        slices=_slices(tried, tables),
        suspicious=list(suspicions(suite, tried.samples, _distinct(tried))),
        duplicates=[_duplicate(group) for group in suite.duplicates],
        bad_lines=[form.BadLineNote(line=bad.line, why=bad.why) for bad in suite.bad_lines],
        notes=list(tried.notes),
        cases=[_case_line(tried, case, by_case[case.id]) for case in suite.cases],
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """One contender's answers as arrays, in the order of the cases."""

    scores: Floats
    groups: Groups
    slices: Groups
    samples: Sequence[Sequence[form.Sample]]

    @classmethod
    def of(cls, cases: Sequence[Case], samples: Mapping[str, Sequence[form.Sample]]) -> _Table:
        means = {case.id: mean_score(samples[case.id]) for case in cases}
        return cls(
            scores_of(means, [case.id for case in cases]),
            np.array([case.prompt_hash for case in cases]),
            np.array([case.slice or NO_SLICE for case in cases]),
            [samples[case.id] for case in cases],
        )

    @property
    def answers(self) -> list[form.Sample]:
        return [sample for many in self.samples for sample in many if sample.answered]

    def quality(self, confidence: float, where: Any = slice(None)) -> Estimate:
        scores, groups = self.scores[where], self.groups[where]
        known = ~np.isnan(scores)
        return mean_outcome(scores[known], groups=groups[known], confidence=confidence)


def mean_score(samples: Sequence[form.Sample]) -> float | None:
    """A case's score: the mean over its samples that have one."""
    scores = [sample.score for sample in samples if sample.score is not None]
    return sum(scores) / len(scores) if scores else None


def _with_policy(tried: Tried) -> dict[str, dict[str, Sequence[form.Sample]]]:
    """The samples by case and column, the policy's being those of the model that it chooses."""
    by_case = {
        case.id: {c.name: tried.samples[c.name, case.id] for c in tried.contenders}
        for case in tried.suite.cases
    }
    if (policy := tried.policy) is not None:
        for name, samples in by_case.items():
            samples[POLICY] = samples[policy.small if name in policy.to_small else policy.strong]
    return by_case


def _column(tried: Tried, contender: Contender, table: _Table) -> form.Column:
    model = tried.models[contender.alias]
    return _figures(
        tried,
        table,
        name=contender.name,
        kind="variant" if tried.purpose == "trial" else "model",
        alias=contender.alias,
        model=model.model,
        identity=contender.identity(model),
        incomplete=contender.name in tried.incomplete,
        system=contender.system,
        user=contender.user,
        temperature=contender.temperature,
        samples=contender.samples,
    )


def _policy_column(tried: Tried, policy: PolicyColumn, table: _Table) -> form.Column:
    cases = len(tried.suite.cases)
    coverage = proportion(len(policy.to_small), cases, tried.confidence)
    return _figures(
        tried,
        table,
        name=POLICY,
        kind="policy",
        alias=f"{policy.strong} | {policy.small}",
        model=f"router {policy.router[:12]}",
        identity=policy.router,
        incomplete=bool({policy.strong, policy.small} & tried.incomplete),
        coverage=form.Figure.of(coverage),
        seen=policy.seen,
    )


def _figures(tried: Tried, table: _Table, **named: Any) -> form.Column:
    answers = table.answers
    answered = np.array([any(s.answered for s in many) for many in table.samples])
    known = ~np.isnan(table.scores)
    costs = [sample.cost_usd_micros for sample in answers]
    return form.Column(
        **named,
        scored=int(known.sum()),
        failed=int((~answered).sum()),
        unscored=int((answered & ~known).sum()),
        quality=form.Figure.of(table.quality(tried.confidence)),
        latency_p50_ms=_times([s.latency_ms for s in answers], 0.5, tried.confidence),
        latency_p95_ms=_times([s.latency_ms for s in answers], 0.95, tried.confidence),
        ttft_p50_ms=_times([s.ttft_ms for s in answers], 0.5, tried.confidence),
        prompt_tokens=sum(sample.prompt_tokens or 0 for sample in answers),
        completion_tokens=sum(sample.completion_tokens or 0 for sample in answers),
        cost_usd_micros=sum(cost for cost in costs if cost is not None),
        unpriced=sum(cost is None for cost in costs),
        cost_per_1000_usd_micros=_cost_per_1000(table, tried.confidence),
    )


def _times(values: Sequence[float | None], share: float, confidence: float) -> form.Figure | None:
    known = [value for value in values if value is not None]
    return form.Figure.of(quantile(known, share, confidence)) if known else None


def _cost_per_1000(table: _Table, confidence: float) -> form.Figure:
    """Of an answer, by resampling prompts: those of one prompt cost alike."""
    known = [
        (float(sample.cost_usd_micros), group)
        for many, group in zip(table.samples, table.groups, strict=True)
        for sample in many
        if sample.cost_usd_micros is not None
    ]
    if not known:
        return form.Figure(value=None, low=None, high=None, n=0)
    costs, groups = np.array([cost for cost, _ in known]), np.array([group for _, group in known])
    (mean,) = mean_with_intervals(costs * 1000, groups, [confidence])
    return form.Figure.of(mean)


def _comparisons(tried: Tried, tables: Mapping[str, _Table]) -> list[form.Comparison]:
    """Each contender against the baseline, over the whole suite and over each slice: two families."""
    others = [name for name in tables if name != tried.baseline]
    whole = [(name, None, np.ones(len(tried.suite.cases), dtype=bool)) for name in others]
    kinds = tables[tried.baseline].slices
    names = sorted(set(kinds.tolist()))
    parts = [(name, kind, kinds == kind) for kind in names for name in others] if len(names) > 1 else []
    return [*_family(tried, tables, whole), *_family(tried, tables, parts)]


def _family(
    tried: Tried, tables: Mapping[str, _Table], wanted: Sequence[tuple[str, str | None, Any]]
) -> Iterator[form.Comparison]:
    base = tables[tried.baseline]
    tested = [
        compare_pair(
            tables[name].scores[where],
            base.scores[where],
            base.groups[where],
            confidence=tried.confidence,
            family=len(wanted),
        )
        for name, _, where in wanted
    ]
    for (name, kind, _), one, p_holm in zip(wanted, tested, corrected(tested), strict=True):
        yield _comparison(name, tried.baseline, kind, one, p_holm)


def _comparison(name: str, baseline: str, kind: str | None, one: Tested, p_holm: float) -> form.Comparison:
    joint = form.Figure.of(one.joint)
    return form.Comparison(
        column=name,
        baseline=baseline,
        slice=kind,
        test=one.test,
        difference=form.Figure.of(one.difference),
        joint_low=joint.low,
        joint_high=joint.high,
        better=one.better,
        worse=one.worse,
        p=one.p,
        p_holm=p_holm,
    )


def _slices(tried: Tried, tables: Mapping[str, _Table]) -> list[form.SliceLine]:
    kinds = tables[tried.baseline].slices
    return [
        form.SliceLine(
            name=kind,
            cases=int((kinds == kind).sum()),
            quality={
                name: form.Figure.of(table.quality(tried.confidence, kinds == kind))
                for name, table in tables.items()
            },
        )
        for kind in sorted(set(kinds.tolist()))
    ]


def _suite_line(suite: Suite) -> form.SuiteLine:
    return form.SuiteLine(
        name=suite.name,
        hash=suite.hash,
        cases_hash=suite.cases_hash,
        description=suite.description,
        cases=len(suite.cases),
        prompts=len({case.prompt_hash for case in suite.cases}),
    )


def _duplicate(group: Sequence[Case]) -> form.Duplicate:
    wanted = {msgspec.json.encode([case.reference, case.check], order="sorted") for case in group}
    return form.Duplicate(cases=[case.id for case in group], contradictory=len(wanted) > 1)


def _case_line(tried: Tried, case: Case, samples: Mapping[str, Sequence[form.Sample]]) -> form.CaseLine:
    return form.CaseLine(
        id=case.id,
        key=case.key,
        prompt_hash=case.prompt_hash,
        line=case.line,
        slice=case.slice,
        check=case.check,
        prompt=case.prompt[:PROMPT_CHARS],
        reference=_shown(case.reference),
        samples={name: list(many) for name, many in samples.items() if name != POLICY},
        small=None if tried.policy is None else case.id in tried.policy.to_small,
    )


def _distinct(tried: Tried) -> list[str]:
    """One contender for each model."""
    return list({tried.models[c.alias].model: c.name for c in reversed(tried.contenders)}.values())


def _shown(reference: Any) -> str | None:
    return None if reference is None else msgspec.json.encode(reference).decode()[:REFERENCE_CHARS]


def significant(p_holm: float, confidence: float) -> bool:
    """Whether a corrected p-value is small enough."""
    return not math.isnan(p_holm) and p_holm <= 1 - confidence + 1e-12
