"""Checks made of checks: all of them, any of them, or not.

Invariant: what a part could not judge is never counted as right or wrong. A combination is unscored unless
the parts that could judge settle it: one bad part settles `all`, one good part settles `any`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from evals.checks.outcome import (
    EVIDENCE_CHARS,
    Check,
    Outcome,
    Subject,
    applied,
    limit_s,
    reads_prompt,
    reads_tools,
    unscored,
)
from evals.time_limit import OutOfTime
from stepdown.records import Verdict

Part = str | Mapping[str, Any]
Build = Callable[[Part], "Named"]


@dataclass(frozen=True, slots=True)
class Named:
    """A part of a combination.

    Attributes:
        name: As evidence names it.
        settings: All settings of the check, as text: part of the combination's version.
    """

    name: str
    check: Check
    settings: str


class All(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every part is good.

    Attributes:
        of: The parts: names of the task's other checks, or checks declared in place.
        weights: Of each part in the score, which is the weighted mean; None is equal weights.
    """

    of: tuple[str | dict[str, Any], ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("`of` must name at least one check")
        if self.weights is None:
            return
        if len(self.weights) != len(self.of) or min(self.weights) < 0 or not sum(self.weights) > 0:
            raise ValueError(f"weights {self.weights!r} must be {len(self.of)}, none negative, not all 0")

    def combined(self, build: Build) -> Check:
        """The check, with its parts built."""
        weights = self.weights or (1.0,) * len(self.of)
        return Combined("all", tuple(map(build, self.of)), weights)


class Any_(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):  # noqa: N801
    """At least one part is good; the score is the best part's.

    Attributes:
        of: The parts: names of the task's other checks, or checks declared in place.
    """

    of: tuple[str | dict[str, Any], ...]

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("`of` must name at least one check")

    def combined(self, build: Build) -> Check:
        """The check, with its parts built."""
        return Combined("any", tuple(map(build, self.of)), (1.0,) * len(self.of))


class Not(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part is bad: an answer that matches what it must not.

    Attributes:
        of: The part: the name of another of the task's checks, or a check declared in place.
    """

    of: str | dict[str, Any]

    def combined(self, build: Build) -> Check:
        """The check, with its part built."""
        return Combined("not", (build(self.of),), (1.0,))


Combination = All | Any_ | Not


@dataclass(frozen=True, slots=True)
class Combined:
    """A check made of checks."""

    kind: str
    parts: tuple[Named, ...]
    weights: tuple[float, ...]

    @property
    def version(self) -> str:
        """Changes with a part's version or settings, which a part that is named has elsewhere."""
        parts = "\n".join(f"{part.check.version} {part.settings}" for part in self.parts)
        return f"1.{hashlib.sha256(parts.encode()).hexdigest()[:8]}"

    @property
    def needs_reference(self) -> bool:
        """Whether a part can say nothing without a reference."""
        return any(part.check.needs_reference for part in self.parts)

    @property
    def reads_tools(self) -> bool:
        """Whether a part can judge a tool call."""
        return any(reads_tools(part.check) for part in self.parts)

    @property
    def reads_prompt(self) -> bool:
        """Whether a part needs to know what was asked."""
        return any(reads_prompt(part.check) for part in self.parts)

    @property
    def limit_s(self) -> float:
        """Longest time that one answer may take all parts together."""
        return sum(limit_s(part.check, 0.0) for part in self.parts)

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        outcomes = [_tried(part.check, subject) for part in self.parts]
        said = ((part.name, outcome) for part, outcome in zip(self.parts, outcomes, strict=True))
        evidence = "; ".join(f"{name} {outcome.verdict}: {outcome.evidence}" for name, outcome in said)
        verdict = SETTLED[self.kind]([outcome.verdict for outcome in outcomes])
        if verdict is Verdict.UNSCORED:
            return unscored(evidence)
        return Outcome(verdict, self._score(outcomes), evidence[:EVIDENCE_CHARS])

    def _score(self, outcomes: list[Outcome]) -> float:
        scored = [(o.score, w) for o, w in zip(outcomes, self.weights, strict=True) if o.score is not None]
        if self.kind == "not":
            return 1.0 - scored[0][0]
        if self.kind == "any":
            return max(score for score, _ in scored)
        weight = sum(weight for _, weight in scored)
        return sum(score * w for score, w in scored) / weight if weight else min(score for score, _ in scored)


def _tried(check: Check, subject: Subject) -> Outcome:
    """The part's outcome; that it failed is its own, but that the time is up is everyone's."""
    try:
        return applied(check, subject)
    except OutOfTime:
        raise
    except Exception as error:  # a check may be anybody's code
        return unscored(f"{type(error).__name__}: {error}")


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    if Verdict.BAD in verdicts:
        return Verdict.BAD
    return Verdict.UNSCORED if Verdict.UNSCORED in verdicts else Verdict.GOOD


def _any(verdicts: Sequence[Verdict]) -> Verdict:
    if Verdict.GOOD in verdicts:
        return Verdict.GOOD
    return Verdict.UNSCORED if Verdict.UNSCORED in verdicts else Verdict.BAD


def _not(verdicts: Sequence[Verdict]) -> Verdict:
    return {Verdict.GOOD: Verdict.BAD, Verdict.BAD: Verdict.GOOD}.get(verdicts[0], Verdict.UNSCORED)


SETTLED: dict[str, Callable[[Sequence[Verdict]], Verdict]] = {"all": _all, "any": _any, "not": _not}
