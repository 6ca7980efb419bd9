"""What the evidence of a rollout calls for: stay, grow, go live, or go back.

Invariant: traffic grows only where a sequential test rules out a loss of quality of more than the margin, on
a prefix of the traffic that is labelled whole, so that nothing which comes later changes it; and it goes back
at once on any alarm, from all that is known now. Pure: it knows nothing of ledgers.

Each of K steps must earn an e-value of (1/alpha)^(1/K) on traffic of its own, so that no share is passed by
without having been tried, and after step k all of them multiplied must come to (1/alpha)^(k/K): a candidate
that is worse by more than the margin goes live with probability at most alpha, and past the first step with
at most alpha^(1/K). Each watch has alpha for itself, approximately where it is of labels that come late.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from distill.rollout.trial import Trial
from distill.rollout.watches import Series, Timed, Watch, e_value, latency_watch, rate_watch, shown_e
from evals.metrics.intervals import Estimate
from evals.metrics.sequential import Scores, difference, difference_scores, e_above, e_below

NOTHING = Series()


class Action(enum.StrEnum):
    """What is to be done."""

    STAY = "stay"
    GROW = "grow"
    GO_LIVE = "go live"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that decide; see `stepdown.settings.distilling.StudentSettings`."""

    alpha: float
    max_quality_loss: float
    shadow_calls: int
    shares: tuple[float, ...]
    margin: float
    lasts: timedelta
    error_rate: float
    latency_ratio: float
    by_hand: bool = False

    def step_of(self, share: float) -> int:
        """The number, from 1, of the step that a share is; one between two steps is the lower one."""
        return max(1, sum(one <= share for one in self.shares))

    def log_needed(self, share: float, earlier: float) -> float:
        """Logarithm of the e-value that leads on from a share, where the steps before it earned `earlier`."""
        of_a_step = -math.log(self.alpha) / len(self.shares)
        return max(of_a_step, of_a_step * self.step_of(share) - earlier)

    def after(self, share: float) -> float | None:
        """The next share, or None where the next step is all."""
        return next((one for one in self.shares if one > share), None)


class ArmRow(NamedTuple):
    """A unit that was drawn into an arm: a conversation, or a request that belongs to none.

    Attributes:
        group: What it counts with: itself, or all requests of its prompt.
        step: Place of the trial's step in which it came.
        share: Probability with which it was drawn into the canary.
        outcome: Mean quality of its answers so far, NaN where none is labelled.
        settled: The same of its answers before the first that waits for a label.
        lost: Share of its answers before that one that have no label all the same; NaN of none.
    """

    group: str
    step: int
    canary: bool
    share: float
    outcome: float
    settled: float
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCount:
    """What became of an arm's requests."""

    requests: int = 0
    labelled: int = 0
    unanswered: int = 0
    waiting: int = 0
    unlabelled: int = 0
    hung_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the ledger holds of a student since it is watched.

    Attributes:
        errors: Whether its calls failed.
        answers: Its whole answers.
        reference: The whole answers of the small model before it.
        regrets: Where its router would send, or sent, it a request: strong good and it bad.
        shadow_labelled: Requests on which an answer of it that no client saw is labelled.
        arms: The units of both arms, in the order of their first requests.
        counts: By arm.
        waiting: Requests that wait for a label.
    """

    errors: Series = NOTHING
    answers: Sequence[Timed] = ()
    reference: Sequence[Timed] = ()
    regrets: Series = NOTHING
    shadow_labelled: int = 0
    arms: Sequence[ArmRow] = ()
    counts: dict[str, ArmCount] = field(default_factory=dict)
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Canary against control.

    Attributes:
        rates: Mean quality of the labelled units of an arm, and how many there are.
        apart: The difference, canary less control, with its confidence sequence.
        log_growth: Logarithm of the e-value against "worse by more than the margin", on the settled units of
            the step under way.
        log_earlier: The same of all steps before it, multiplied.
        harm: The watch for "worse".
        lost: The watch for the canary losing labels.
    """

    rates: dict[str, tuple[float, int]]
    apart: Estimate
    log_growth: float
    log_earlier: float
    harm: Watch
    lost: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What is to be done, why, and the numbers.

    Attributes:
        share: Of the step to be made, where the action is to grow.
        ready: Whether the next step is earned, whoever makes it.
    """

    action: Action
    reason: str
    watches: tuple[Watch, ...]
    observed: Observed
    quality: Quality | None = None
    share: float = 0.0
    ready: bool = False
    log_needed: float = 0.0

    def numbers(self) -> dict[str, Any]:
        """All numbers as JSON values."""
        seen = self.observed
        found: dict[str, Any] = {
            "watches": [watch.numbers() for watch in self.watches],
            "waiting": seen.waiting,
            "shadow_labelled": seen.shadow_labelled,
        }
        if (quality := self.quality) is not None:
            found["arms"] = {
                name: {**_counted(count), **_rate(quality.rates.get(name, (math.nan, 0)))}
                for name, count in seen.counts.items()
            }
            found["difference"] = dict(
                zip(("value", "low", "high", "n"), _finite(quality.apart), strict=True)
            )
            found["e_value"] = e_value(quality.log_growth)
            found["e_needed"] = math.exp(self.log_needed)
            found["e_before"] = e_value(quality.log_earlier)
        return found


def assess(trial: Trial, seen: Observed, rules: Rules, at: datetime) -> Assessment:
    """What the evidence on a candidate calls for.

    Args:
        trial: The trial.
        seen: What happened in it.
        rules: The settings.
        at: The present.
    """
    watches = list(watches_of(seen, rules))
    quality = _quality(seen, rules, len(trial.steps) - 1) if trial.share else None
    if quality is not None:
        watches.append(quality.harm)
    needed = rules.log_needed(trial.share, quality.log_earlier) if quality is not None else 0.0
    ready, why = _earned(trial, seen, quality, needed, rules)
    action, share = Action.STAY, 0.0
    over = abs(at - trial.stage_since) >= rules.lasts  # a clock that was ahead keeps no trial for years
    if any(watch.alarm for watch in watches):
        action, why = Action.ROLL_BACK, alarms(watches)
    elif ready and rules.by_hand:
        why += "; `stepdown promote` makes it, for the task's promotion is manual"
    elif ready:
        share = rules.after(trial.share) or 0.0
        action = Action.GROW if share else Action.GO_LIVE
    elif over:
        action, why = Action.ROLL_BACK, f"undecided after {rules.lasts / timedelta(days=1):g} days: {why}"
    tried = (*watches, quality.lost) if quality is not None else tuple(watches)
    return Assessment(
        action=action,
        reason=why,
        watches=tried,
        observed=seen,
        quality=quality,
        share=share,
        ready=ready,
        log_needed=needed,
    )


def assess_service(seen: Observed, rules: Rules) -> Assessment:
    """What the evidence on a student in service calls for: to stay or to go back."""
    watches = tuple(watches_of(seen, rules))
    ill = any(watch.alarm for watch in watches)
    return Assessment(
        action=Action.ROLL_BACK if ill else Action.STAY,
        reason=alarms(watches) if ill else "no alarm",
        watches=watches,
        observed=seen,
    )


def watches_of(seen: Observed, rules: Rules) -> tuple[Watch, ...]:
    """The watches that go on from shadow to service."""
    return (
        rate_watch("failed calls", seen.errors, rules.error_rate, rules.alpha),
        latency_watch(seen.answers, seen.reference, rules.latency_ratio, rules.alpha),
        rate_watch("regret", seen.regrets, rules.max_quality_loss, rules.alpha),
    )


def alarms(watches: Sequence[Watch]) -> str:
    """The watches that go off, in words."""
    return "; ".join(f"alarm: {watch}" for watch in watches if watch.alarm)


def _earned(
    trial: Trial, seen: Observed, quality: Quality | None, needed: float, rules: Rules
) -> tuple[bool, str]:
    """Whether the next step is earned, and why, or why not."""
    if trial.router is None:
        return False, "it has no router"
    if quality is None:
        shown = f"{seen.shadow_labelled:,} labelled shadow calls of {rules.shadow_calls:,}"
        return seen.shadow_labelled >= rules.shadow_calls, shown
    shown = (
        f"e-value {shown_e(quality.log_growth)} of {math.exp(needed):.3g} against a loss of more than "
        f"{rules.margin:.1%}; {_apart(quality.apart)}"
    )
    if quality.lost.alarm:
        return False, f"the canary loses labels: {quality.lost}; {shown}"
    return quality.log_growth >= needed, shown


def _apart(found: Estimate) -> str:
    if not found.n:
        return "nothing of the canary is labelled yet"
    ends = f"{found.low:+.1%} to {found.high:+.1%}"
    return f"canary less control {found.value:+.1%} ({ends}, {found.n:,} units)"


def _quality(seen: Observed, rules: Rules, step: int) -> Quality:
    labelled = [row for row in seen.arms if not math.isnan(row.outcome)]
    known = [row for row in seen.arms if not math.isnan(row.lost)]
    now = _scores(labelled, [row.outcome for row in labelled])
    lost = _scores(known, [row.lost for row in known])
    arms = {
        arm: [row.outcome for row in labelled if row.canary is canary]
        for arm, canary in (("control", False), ("canary", True))
    }
    rates = {arm: (float(np.mean(found)) if found else math.nan, len(found)) for arm, found in arms.items()}
    # The mean of an observation is the difference of the arms, and a watch's limit is that of the mean.
    harm = e_below(now.values, 0.0, low=now.low, high=now.high).highest
    losing = e_above(lost.values, 0.0, low=lost.low, high=lost.high).highest
    apart = difference(now, alpha=rules.alpha)
    return Quality(
        rates=rates,
        apart=apart,
        log_growth=_growth(seen.arms, step, rules.margin),
        log_earlier=sum(_growth(seen.arms, earlier, rules.margin) for earlier in range(step)),
        harm=Watch("loss of quality", apart.n, -apart.value, 0.0, harm, rules.alpha),
        lost=Watch(
            "answers without a label, more than in control",
            lost.values.size,
            float(lost.values.mean()) if lost.values.size else math.nan,
            0.0,
            losing,
            rules.alpha,
        ),
    )


def _growth(arms: Sequence[ArmRow], step: int, margin: float) -> float:
    """Logarithm of the e-value against "worse by more than the margin", on the settled units of one step."""
    settled = [row for row in arms if row.step == step and not math.isnan(row.settled)]
    sure = _scores(settled, [row.settled for row in settled])
    return e_above(sure.values, -margin, low=sure.low, high=sure.high).now


def _scores(rows: Sequence[ArmRow], outcomes: Sequence[float]) -> Scores:
    return difference_scores(
        outcomes, [row.canary for row in rows], [row.share for row in rows], [row.group for row in rows]
    )


def _counted(count: ArmCount) -> dict[str, int]:
    return {name: getattr(count, name) for name in ArmCount.__dataclass_fields__}


def _rate(found: tuple[float, int]) -> dict[str, Any]:
    rate, units = found
    return {"units": units, "quality": None if math.isnan(rate) else rate}


def _finite(estimate: Estimate) -> tuple[Any, ...]:
    return tuple(None if math.isnan(one) else one for one in estimate)
