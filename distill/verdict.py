"""What the gate says: one criterion a line, as values that can be kept and read again. Pure.

Invariant: only a criterion that is `passed` or `too small to say` lets a candidate through.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.evidence import Rules

SAVING = "net saving"


class Outcome(enum.StrEnum):
    """What came of one criterion; only `passed` and `too_small` let a candidate through."""

    PASSED = "passed"
    FAILED = "failed"
    UNMEASURED = "not measured"
    TOO_SMALL = "too small to say"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One line of the verdict.

    Attributes:
        unit: Of estimate, ends and limit: `share` (of prompts or calls), `ratio` or `usd_micros`.
        n: What it rests on: prompts, calls or pairs of calls; `unscored` more lacked a score.
        low: Lower end of the interval, None where unbounded; `high` likewise. Each end of a difference alone
            holds with confidence 1 - alpha.
        p: One-sided p-value of the test that decides, after the correction; None where no test does.
        seen: The smallest loss that would have been seen four times of five; None where none would, and where
            a loss of the margin is stopped anyway.
        needed: Prompts that would have been enough, where too few are there.
    """

    name: str
    unit: str
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    limit: float
    p: float | None
    outcome: Outcome
    reason: str
    unscored: int = 0
    seen: float | None = None
    needed: int | None = None

    @property
    def stops(self) -> bool:
        """Whether it keeps the candidate out."""
        return self.outcome in (Outcome.FAILED, Outcome.UNMEASURED)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says.

    Attributes:
        reason: In words: why it did not pass, or that it did.
    """

    passed: bool
    reason: str
    candidate: str
    incumbent: str | None
    rules: Rules
    criteria: tuple[Criterion, ...]
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass; empty where it did."""
        return tuple(f"{one.name}: {one.reason}" for one in self.criteria if one.stops)

    @property
    def net_usd_micros(self) -> float:
        """What the candidate is expected to save within the horizon, less what it cost; NaN if not known."""
        saving = next(one for one in self.criteria if one.name == SAVING)
        return math.nan if saving.estimate is None else saving.estimate - saving.limit


def as_values(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON values: what the dashboard shows."""
    rows = [{**vars(one), "outcome": one.outcome.value} for one in verdict.criteria]
    return {
        **{name: getattr(verdict, name) for name in ("passed", "reason", "candidate", "incumbent")},
        "reasons": list(verdict.reasons),
        "rules": vars(verdict.rules),
        "criteria": rows,
        "notes": list(verdict.notes),
    }


def from_values(values: Mapping[str, Any]) -> Verdict:
    """The verdict that `as_values` made values of."""
    rows = [Criterion(**{**row, "outcome": Outcome(row["outcome"])}) for row in values["criteria"]]
    return Verdict(
        **{name: values[name] for name in ("passed", "reason", "candidate", "incumbent")},
        rules=Rules(**values["rules"]),
        criteria=tuple(rows),
        notes=tuple(values["notes"]),
    )
