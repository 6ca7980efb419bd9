"""The frontier of a task as a tree of frozen values that JSON holds.

Invariant: every estimate has its n and its interval; what cannot be given is null beside a line in
`Frontier.missing`. Shares and qualities lie in [0, 1], money is in micro-dollars. The tree does not know how
it is made or shown.
"""

from __future__ import annotations

import math

import msgspec
from msgspec import Struct

from evals.metrics.intervals import Estimate

FRONTIER = "frontier"


class Figure(Struct, frozen=True):
    """An estimate with its interval at `Frontier.interval_confidence`; None is what is not known."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, estimate: Estimate) -> Figure:
        """The same as JSON can hold it."""
        value, low, high = (end if math.isfinite(end) else None for end in estimate[:3])
        return cls(value, low, high, estimate.n)


class Point(Struct, frozen=True):
    """A point of the cost-quality curve, reached by giving strong the requests of the largest gain.

    Attributes:
        strong_share: Share of the requests that strong answers.
        quality: Share of good answers.
        low: Lower edge of the band; likewise `high`.
        cost_usd_micros: Mean cost of a request's answer.
    """

    strong_share: float
    quality: float
    low: float
    high: float
    cost_usd_micros: float | None


class Baseline(Struct, frozen=True):
    """Another way to rank requests, or the router itself.

    Attributes:
        quality: At each of the curve's strong shares.
        apgr: Mean share of the gap between the models that is recovered.
    """

    name: str
    quality: tuple[float, ...]
    apgr: Figure


class Choice(Struct, frozen=True, kw_only=True):
    """What a bound buys.

    Attributes:
        max_quality_loss: The bound.
        certified_for: The loss for which its threshold is certified: the bound, or the next stricter one of
            the grid; None where nothing is certified.
        threshold: Small iff gain <= threshold; None where nothing goes to small.
        regrets: Of the `n` calibration prompts, those that small answers wrong and strong right.
        served: Of the calibration prompts, those that small answers.
        upper: Exact upper bound of the share of regrets, with `confidence`.
        confidence: Of this certificate alone; that of all choices at once is `Frontier.together`.
        reason: `certified`, or why nothing goes to small.
        coverage: Share of held-out requests that small answers.
        quality: Of the answers; likewise `difference`, less always-strong's on the same requests.
        cost_usd_micros: Mean cost of a request's answer, on the curve.
        saving_usd_micros: Of a request in mode route against always-strong, net of what exploration costs.
        saving_a_month_usd_micros: The same of a month's requests, less the rent of the small model.
        in_force: Whether the task is routed so now.
    """

    max_quality_loss: float
    certified_for: float | None
    threshold: float | None
    regrets: int
    served: int
    n: int
    upper: float
    confidence: float
    reason: str
    coverage: Figure
    quality: Figure
    difference: Figure
    cost_usd_micros: Figure | None
    saving_usd_micros: Figure | None
    saving_a_month_usd_micros: Figure | None
    in_force: bool


class Frontier(Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        router: The router in force, or the newest where none is.
        fitted: The fit that it comes from.
        sequence: Of the promotion in force when this was made; 0 is none.
        max_quality_loss: The bound in force.
        by_hand: Whether a person set it; else it is that of the settings.
        confidence: With which the task's bounds are promised over its life.
        together: With which all certificates of `choices` hold at once.
        certify_on: Whose labels they rest on: `trusted` or `judged`.
        judged_by: Whose word, where they rest on more than trusted labels.
        interval_confidence: Of every interval, each for itself.
        pairs: Held-out pairs, on which the estimates rest; of them `calibration` chose the thresholds, so the
            estimates err a little to the good side, and `later` came after the fit.
        points: The cost-quality curve; empty where too few pairs are held out.
        baselines: The router first.
        strong: Quality of always-strong; likewise `small`, and their mean costs.
        operating: What the bound in force buys.
        choices: One for each loss of the grid, by rising loss.
        requests_a_month: On which the monthly savings rest, as in the `counted_days` before this was made.
        rent_a_month_usd_micros: Of the small model's hardware; the task's part.
        missing: What could not be said, and what it needs.
    """

    task: str
    router: str
    fitted: str
    mode: str
    sequence: int
    max_quality_loss: float
    by_hand: bool
    confidence: float
    together: float
    certify_on: str
    judged_by: tuple[str, ...]
    interval_confidence: float
    pairs: int
    calibration: int
    later: int
    points: tuple[Point, ...]
    baselines: tuple[Baseline, ...]
    strong: Figure
    small: Figure
    strong_usd_micros: float | None
    small_usd_micros: float | None
    operating: Choice
    choices: tuple[Choice, ...]
    requests_a_month: float
    counted_days: float
    rent_a_month_usd_micros: float
    missing: tuple[str, ...]

    def at(self, loss: float) -> Choice | None:
        """What a bound buys: the choice for it, or the next stricter one; None below the strictest."""
        return max(
            (choice for choice in self.choices if choice.max_quality_loss <= loss),
            key=lambda choice: choice.max_quality_loss,
            default=None,
        )


def to_json(frontier: Frontier) -> bytes:
    """The document as it is kept; the same one gives the same bytes."""
    return msgspec.json.encode(frontier, order="deterministic")
