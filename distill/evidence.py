"""What the gate looks at, and what it asks of a candidate: values alone. Pure.

Invariant: a score that is not there is NaN and never a bad one, and money that is not known NaN and never
zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.metrics.intervals import Estimate, Floats
from evals.metrics.noninferiority import by_prompt

Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Pairs:
    """The scores of both on the same questions.

    Attributes:
        candidate: In [0, 1]; NaN where there is no answer or no label. (n,)
        incumbent: Likewise. (n,)
        prompts: Hash of each question's prompt: rows that share it are not independent. (n,)
        slices: Name of each question's slice. (n,)
        why: Why there are none, or None.
    """

    candidate: Floats
    incumbent: Floats
    prompts: Texts
    slices: Texts
    why: str | None = None

    @classmethod
    def none(cls, why: str) -> Pairs:
        """No questions, and why."""
        empty = np.empty(0)
        return cls(empty, empty, empty.astype(str), empty.astype(str), why)

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Some of the questions."""
        return Pairs(
            self.candidate[chosen],
            self.incumbent[chosen],
            self.prompts[chosen],
            self.slices[chosen],
            self.why,
        )

    def differences(self) -> Floats:
        """Candidate minus incumbent by prompt, where both have a score."""
        return by_prompt(self.candidate, self.incumbent, self.prompts)

    @property
    def unscored(self) -> int:
        """Questions that lack a score of either."""
        return int((np.isnan(self.candidate) | np.isnan(self.incumbent)).sum())


class Calls(NamedTuple):
    """Requests of the sample that the candidate was asked, and those that it never answered."""

    asked: int
    failed: int


@dataclass(frozen=True)
class Timed:
    """Latencies in milliseconds of both, asked of the same prompts at the same time. (n,) each."""

    candidate: Floats
    incumbent: Floats


@dataclass(frozen=True, kw_only=True)
class Economy:
    """What a request costs, how many there are, and what was spent; money in micro-dollars.

    Attributes:
        requests_per_day: Of the task, those on which the policy decides.
        coverage: Share of requests that the candidate is expected to answer; None where nothing says.
        coverage_from: Where that is from, or why there is none.
        strong: Cost of strong's answer to each prompt of the sample; NaN where not known. (n,)
        small: Likewise of the candidate's. (n,)
        exploration: Share of routed requests that go to strong whatever the router says, small in the shadow.
        rent_per_day: Of the hardware that serves the small model; the task's part.
        spent: On this candidate so far: training, export, evaluation, labels.
        unpriced: Parts of that whose cost is not known.
    """

    requests_per_day: float
    coverage: Estimate | None
    coverage_from: str
    strong: Floats
    small: Floats
    exploration: float = 0.0
    rent_per_day: float = 0.0
    spent: int = 0
    unpriced: int = 0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that the gate looks at.

    Attributes:
        candidate: Artifact id of the student.
        incumbent: Artifact id of the student in service; None is the small model as declared.
        dataset: Artifact ids of what the candidate was trained on.
        suites: By name; `general` is the suite of general ability, or None where the task names none.
        evaluations: Artifact ids of the evaluations of the suites.
        notes: What a reader has to know.
    """

    candidate: str
    incumbent: str | None
    sample: Pairs
    calls: Calls
    timed: Timed
    economy: Economy
    suites: Mapping[str, Pairs] = field(default_factory=dict)
    general: Pairs | None = None
    dataset: tuple[str, ...] = ()
    evaluations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is asked of a candidate.

    Attributes:
        margin: Loss of quality that is allowed on the sample, a slice and a suite.
        general_margin: Likewise on the general suite.
        alpha: Probability with which a candidate that loses the margin may pass, and with which one that
            loses it nowhere may be stopped by a slice or a suite.
        latency_ratio: Highest p95 latency, times the incumbent's.
        failed_calls: Largest share of failed calls.
        horizon_days: In which the saving is counted.
    """

    margin: float = 0.02
    general_margin: float = 0.02
    alpha: float = 0.05
    latency_ratio: float = 1.5
    failed_calls: float = 0.05
    horizon_days: float = 30.0
