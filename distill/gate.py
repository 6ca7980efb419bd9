"""The gate: may a candidate take the place of the student in service? Evidence in, verdict out. Pure.

Invariant: a candidate passes only if every criterion is met, so one that loses the margin on the fresh sample
passes with probability alpha at most, whatever else is looked at. What too few prompts can tell is `not
measured`, which does not pass, and says how many are needed. The reasons are in `docs/adr/0008-gate.md`.

Which test decides what:
- the fresh sample, and the general suite: it must be *shown* that less than the margin is lost (level alpha);
- each slice of the sample, and each suite of the task: stopped where *significantly* more than the margin is
  lost, corrected by Holm over all of them; the smallest loss that would have been seen is said with each;
- failed calls and latency: stopped where clearly above their limit; saving: the point estimate decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from distill.evidence import Calls, Economy, Evidence, Pairs, Rules, Timed
from distill.verdict import SAVING, Criterion, Outcome, Verdict
from evals.metrics.holm import holm
from evals.metrics.intervals import (
    DRAWS,
    Estimate,
    Floats,
    clopper_pearson,
    percentile_interval,
    resampled_weights,
)
from evals.metrics.noninferiority import (
    mean_with_bounds,
    p_not_worse,
    p_worse,
    prompts_needed,
    smallest_loss_seen,
    split_of,
)

__all__ = [
    "Calls",
    "Criterion",
    "Economy",
    "Evidence",
    "Outcome",
    "Pairs",
    "Rules",
    "Timed",
    "Verdict",
    "decide",
    "net_saving",
]

SAMPLE, GENERAL, FAILED_CALLS, LATENCY = "fresh sample", "general suite", "failed calls", "p95 latency"
SLICE, SUITE = "slice", "suite"
LEAST_TIMED = 20
LEAST_MS = 1e-3
MANY = 1_000_000


def decide(evidence: Evidence, rules: Rules) -> Verdict:
    """The verdict on a candidate."""
    criteria = [
        _shown(SAMPLE, evidence.sample, rules.margin, rules.alpha),
        *_parts(evidence, rules),
        *(
            [_shown(GENERAL, evidence.general, rules.general_margin, rules.alpha)]
            if evidence.general is not None
            else []
        ),
        _failed_calls(evidence.calls, rules),
        _latency(evidence.timed, rules),
        _saving(evidence.economy, rules),
    ]
    stopped = [one for one in criteria if one.stops]
    return Verdict(
        passed=not stopped,
        reason="; ".join(f"{one.name}: {one.reason}" for one in stopped) or _praise(criteria),
        candidate=evidence.candidate,
        incumbent=evidence.incumbent,
        rules=rules,
        criteria=tuple(criteria),
        notes=evidence.notes,
    )


def _praise(criteria: Sequence[Criterion]) -> str:
    blind = sum(one.outcome is Outcome.TOO_SMALL for one in criteria)
    hidden = f"; {blind} slices or suites are too small to say" if blind else ""
    return f"all {len(criteria) - blind} criteria are met{hidden}"


def _shown(name: str, pairs: Pairs, margin: float, alpha: float) -> Criterion:
    """That the loss is below the margin must be shown."""
    differences = pairs.differences()
    row = _difference_row(name, pairs, differences, margin, alpha)
    if not differences.size:
        needed = prompts_needed(margin, alpha)
        why = pairs.why or "no prompt has a label for both"
        return replace(row, needed=needed, reason=f"{why}; at least {needed:,} labelled prompts are needed")
    p = p_not_worse(differences, margin)
    row = replace(row, p=p)
    if p <= alpha:
        return replace(row, outcome=Outcome.PASSED, reason=f"a loss of {margin:.1%} is ruled out")
    if float(differences.mean()) <= -margin:
        why = f"{-differences.mean():.1%} worse, and {margin:.1%} is allowed"
        return replace(row, outcome=Outcome.FAILED, reason=why)
    needed = _needed(differences, margin, alpha)
    return replace(
        row,
        needed=needed,
        reason=f"{differences.size:,} prompts cannot rule out a loss of {margin:.1%}: about {needed:,} are "
        "needed if it goes on like this",
    )


def _needed(differences: Floats, margin: float, alpha: float) -> int:
    """About how many prompts like these would show it; found by repeating the split that was seen."""
    n, split = differences.size, split_of(differences)
    spread = float(np.mean(differences**2) - differences.mean() ** 2)
    distance = float(differences.mean()) + margin
    z_squared = -2 * math.log(2 * alpha)  # a little more than the square of the normal quantile
    about = spread * z_squared / distance**2 * (1 if split is not None else 2)
    return max(prompts_needed(margin, alpha), min(MANY, math.ceil(about)), n + 1)


def _difference_row(name: str, pairs: Pairs, differences: Floats, margin: float, alpha: float) -> Criterion:
    found = mean_with_bounds(differences, alpha)
    return Criterion(
        name=name,
        unit="share",
        n=found.n,
        estimate=_finite(found.value),
        low=found.low,
        high=found.high,
        limit=-margin,
        p=None,
        outcome=Outcome.UNMEASURED,
        reason=pairs.why or "",
        unscored=pairs.unscored,
    )


def _parts(evidence: Evidence, rules: Rules) -> Iterator[Criterion]:
    """Slices and suites: one family of tests, each for a loss above the margin.

    Those that could not be significant even if every prompt were lost are no part of the family, which is
    decided by their size alone (Tarone, 1990, Biometrics 46:515-522).
    """
    named = {f"{SUITE} {name}": (pairs, pairs.differences()) for name, pairs in evidence.suites.items()}
    kinds = sorted(set(evidence.sample.slices.tolist()))
    for kind in kinds if len(kinds) > 1 else []:
        where = evidence.sample.slices == kind
        part = evidence.sample.where(where)
        named[f"{SLICE} {kind}"] = (part, part.differences())
    sizes = {name: differences.size for name, (_, differences) in named.items()}
    testable = _testable(sizes, rules)
    p_values = {name: p_worse(named[name][1], rules.margin) for name in testable}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    level = rules.alpha / max(1, len(testable))
    for name, (pairs, differences) in sorted(named.items()):
        row = _difference_row(name, pairs, differences, rules.margin, rules.alpha)
        row = replace(row, seen=smallest_loss_seen(row.n, rules.margin, level) if row.n else None)
        yield _part(row, corrected.get(name), rules, is_suite=name.startswith(SUITE))


def _testable(sizes: Mapping[str, int], rules: Rules) -> list[str]:
    """The largest family whose smallest member could still be significant within it."""
    ordered = sorted((name for name in sizes if sizes[name]), key=lambda name: -sizes[name])
    while ordered and p_worse(-np.ones(sizes[ordered[-1]]), rules.margin) > rules.alpha / len(ordered):
        ordered.pop()
    return ordered


def _part(row: Criterion, p: float | None, rules: Rules, *, is_suite: bool) -> Criterion:
    if p is None:
        empty = is_suite and not row.n
        why = row.reason or f"{row.n:,} labelled prompts, on which even a total loss would not be significant"
        return replace(row, outcome=Outcome.UNMEASURED if empty else Outcome.TOO_SMALL, reason=why)
    if p <= rules.alpha:
        why = f"{-(row.estimate or 0.0):.1%} worse, significantly more than {rules.margin:.1%}"
        return replace(row, p=p, outcome=Outcome.FAILED, reason=why)
    seen = (
        "no loss would have been seen"
        if row.seen is None
        else f"a loss of {row.seen:.1%} would have been seen"
    )
    return replace(row, p=p, outcome=Outcome.PASSED, reason=f"not significantly worse; {seen}")


def _failed_calls(calls: Calls, rules: Rules) -> Criterion:
    ends = clopper_pearson(calls.failed, calls.asked, 1 - 2 * rules.alpha)
    share = calls.failed / calls.asked if calls.asked else None
    above = share is not None and ends.low > rules.failed_calls
    outcome = Outcome.UNMEASURED if share is None else Outcome.FAILED if above else Outcome.PASSED
    words = f"{calls.failed:,} of {calls.asked:,} requests were never answered"
    return Criterion(
        name=FAILED_CALLS,
        unit="share",
        n=calls.asked,
        estimate=share,
        low=ends.low,
        high=ends.high,
        limit=rules.failed_calls,
        p=None,
        outcome=outcome,
        reason="the candidate was asked nothing" if share is None else words,
    )


def _latency(timed: Timed, rules: Rules) -> Criterion:
    n = timed.candidate.size
    found = _p95_ratio(timed, 1 - 2 * rules.alpha)
    row = Criterion(
        name=LATENCY,
        unit="ratio",
        n=n,
        estimate=_finite(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        limit=rules.latency_ratio,
        p=None,
        outcome=Outcome.PASSED,
        reason=f"not clearly above {rules.latency_ratio:g} times the incumbent's",
    )
    if n < LEAST_TIMED:
        why = f"both were timed on {n} prompts, {LEAST_TIMED} are needed"
        return replace(row, outcome=Outcome.UNMEASURED, reason=why, needed=LEAST_TIMED)
    if found.low > rules.latency_ratio:
        why = f"{found.value:.2f} times the incumbent's, clearly above {rules.latency_ratio:g}"
        return replace(row, outcome=Outcome.FAILED, reason=why)
    return row


def _p95_ratio(timed: Timed, confidence: float) -> Estimate:
    """Candidate's p95 over the incumbent's; the interval is the bootstrap's by prompt (approximate)."""
    n = timed.candidate.size
    if not n:
        return Estimate(math.nan, 0.0, math.inf, 0)
    drawn = np.random.default_rng(0).integers(0, n, size=(DRAWS, n))
    drawn[0] = np.arange(n)
    own, other = (
        np.quantile(times[drawn], 0.95, axis=1, method="higher")
        for times in (timed.candidate, timed.incumbent)
    )
    ratios = own / np.maximum(other, LEAST_MS)
    return Estimate(float(ratios[0]), *percentile_interval(ratios, confidence), n)


def _saving(economy: Economy, rules: Rules) -> Criterion:
    """Net saving over the horizon against strong alone, beyond what the candidate has cost."""
    unknown = _unknown(economy)
    row = Criterion(
        name=SAVING,
        unit="usd_micros",
        n=economy.coverage.n if economy.coverage else 0,
        estimate=None,
        low=None,
        high=None,
        limit=float(economy.spent),
        p=None,
        outcome=Outcome.UNMEASURED,
        reason=unknown or "",
    )
    if unknown is not None or economy.coverage is None:
        return row
    found = net_saving(economy, economy.coverage, rules)
    enough = found.value > economy.spent
    days = _break_even_days(found.value, economy.spent, rules.horizon_days)
    return replace(
        row,
        estimate=found.value,
        low=found.low,
        high=found.high,
        outcome=Outcome.PASSED if enough else Outcome.FAILED,
        reason=f"coverage {economy.coverage.value:.1%} ({economy.coverage_from}), {days}",
    )


def _unknown(economy: Economy) -> str | None:
    if economy.coverage is None:
        return economy.coverage_from
    for name, costs in (("strong", economy.strong), ("the candidate", economy.small)):
        if not (~np.isnan(costs)).any():
            return f"no answer of {name} has a known cost; set the price of its model"
    return None


def net_saving(economy: Economy, coverage: Estimate, rules: Rules) -> Estimate:
    """Micro-dollars saved over the horizon against strong alone, before what the candidate has cost.

    Of requests that small answers it is the difference of the costs; explored ones pay small beside strong.
    The ends hold together with confidence 1 - 2 alpha where those of the coverage hold with 1 - alpha.
    """
    level = 1 - rules.alpha / 2
    strong, small = (_mean_cost(costs, level) for costs in (economy.strong, economy.small))
    requests, routed = economy.requests_per_day * rules.horizon_days, 1 - economy.exploration

    def net(share: float, dear: float, cheap: float) -> float:
        a_request = share * routed * (dear - cheap) - economy.exploration * cheap
        return requests * a_request - economy.rent_per_day * rules.horizon_days

    ends = [net(share, strong.low, small.high) for share in coverage[1:3]]
    tops = [net(share, strong.high, small.low) for share in coverage[1:3]]
    return Estimate(net(coverage.value, strong.value, small.value), min(ends), max(tops), coverage.n)


def _mean_cost(costs: Floats, level: float) -> Estimate:
    known = costs[~np.isnan(costs)]
    if not known.size:
        return Estimate(math.nan, math.nan, math.nan, 0)
    means = [(weights @ known) / known.size for weights in resampled_weights(known.size)]
    return Estimate(float(known.mean()), *percentile_interval(np.concatenate(means), level), known.size)


def _break_even_days(saving: float, spent: int, horizon_days: float) -> str:
    if saving <= 0:
        return f"which saves nothing in {horizon_days:g} days"
    days = spent / (saving / horizon_days)
    return f"paid back in {days:,.1f} days"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
