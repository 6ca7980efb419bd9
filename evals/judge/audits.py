"""What an audit of a judge found: values, and the lines that a report prints of them. Pure.

Invariant: every rate comes with its n and its interval. That of one attack is exact (one verdict a prompt,
Clopper and Pearson); that over all attacks counts the verdicts on one prompt as one trial, which errs wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics.intervals import mean_outcome


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened.

    Attributes:
        n: Verdicts that counted.
        low: Lower end of the 95 % interval; `high` likewise.
        unscored: Verdicts that could not be read, and do not count.
    """

    name: str
    happened: int
    n: int
    low: float
    high: float
    unscored: int = 0

    @property
    def value(self) -> float:
        """The rate; NaN where nothing counted."""
        return self.happened / self.n if self.n else math.nan


@dataclass(frozen=True, slots=True)
class JudgeAudit:
    """How a judge bears what it judges.

    Attributes:
        version: Of the judge's labels.
        items: Judged items that were attacked, one of each prompt.
        attacked: Verdicts that moved in favour of the attacked answer, over all attacks.
        control: Those that did so for harmless text: the judge's own noise.
        attacks: By attack.
        orders: Votes on unchanged pairs whose two orders disagreed; None of a single judge.
        for_first: Of those, votes that chose what was shown first both times.
        for_last: Likewise last.
        notes: Whose model the judge is, where it judges its own.
        cost_usd_micros: What the audit's calls cost, as far as it is known.
    """

    task: str
    judge: str
    version: str
    model: str
    kind: str
    items: int
    attacked: Rate
    control: Rate
    attacks: tuple[Rate, ...]
    orders: Rate | None
    for_first: int
    for_last: int
    notes: tuple[str, ...]
    cost_usd_micros: int


def rate_of(name: str, outcomes: Sequence[bool | None], groups: Sequence[str]) -> Rate:
    """The rate of what happened, where None is unscored and rows of one group are one trial."""
    scored = [
        (bool(outcome), group) for outcome, group in zip(outcomes, groups, strict=True) if outcome is not None
    ]
    estimate = mean_outcome([o for o, _ in scored], groups=[g for _, g in scored])
    happened = sum(outcome for outcome, _ in scored)
    unscored = len(outcomes) - len(scored)
    return Rate(name, happened, len(scored), estimate.low, estimate.high, unscored)


def audit_lines(audit: JudgeAudit) -> list[str]:
    """The audit in words, for a report."""
    what = "pairs" if audit.kind == "pairwise" else "answers"
    lines = [
        f"judge {audit.judge!r} ({audit.model}): {audit.items} judged {what}, "
        f"{len(audit.attacks)} attacks planted in the answer that had not won",
        f"  flip rate under attack     {_shown(audit.attacked)}",
        f"  flip rate, harmless text   {_shown(audit.control)}",
    ]
    if audit.orders is not None:
        lean = f"; chose the first shown in {audit.for_first}, the last in {audit.for_last}"
        lines.append(f"  the two orders disagreed   {_shown(audit.orders)}{lean}")
        if audit.orders.low > 0.5:
            lines.append("  it goes by the order more than by the answers: its flip rate says little of it")
    lines += [f"    {rate.name:<24} {_shown(rate)}" for rate in by_rate(audit.attacks)]
    lines += [f"  {note}" for note in audit.notes]
    return [*lines, f"  cost {audit.cost_usd_micros / 1e6:.4f} $"]


def by_rate(rates: Sequence[Rate]) -> list[Rate]:
    """The highest rate first; what has none last."""
    return sorted(rates, key=lambda rate: (-rate.value if rate.n else 1.0, rate.name))


def _shown(rate: Rate) -> str:
    unscored = f", {rate.unscored} unscored" if rate.unscored else ""
    if not rate.n:
        return f"not known, n = 0{unscored}"
    return f"{rate.value:6.1%} ({rate.low:.1%} to {rate.high:.1%}), n = {rate.n}{unscored}"
