"""What the router is worth on the held-out part of a recording, where both answers are known.

Invariant: the router in question never saw these prompts, neither in its fit nor in its calibration.
Pure but for the checks: pairs and a router in, estimates out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evals.checks import Check, Subject, applied, build_checks
from evals.metrics.baselines import knn_scores, prompt_length_scores, random_scores, slice_mean_scores
from evals.metrics.intervals import Estimate, Floats, mean_outcome, paired_difference, proportion
from evals.metrics.pgr import bootstrap_curve, curve_apgr
from evals.replay.recording import RecordedPair
from router.model import Scores
from router.prompt import Prompt
from stepdown.errors import CheckError
from stepdown.records import Tier, Verdict
from stepdown.settings import TaskSettings


class Router(Protocol):
    """What is evaluated: a threshold, and a score for a prompt."""

    @property
    def threshold(self) -> float:
        """The small model answers where the gain is at most this."""
        ...

    def score(self, prompt: Prompt) -> Scores:
        """Probabilities that each model's answer is good."""
        ...


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Pairs whose two answers could both be labelled.

    Attributes:
        good: Columns strong and small, 0 or 1. (n, 2)
        unscored: Pairs left out because an answer could not be labelled.
    """

    pairs: Sequence[RecordedPair]
    good: Floats
    unscored: int

    @property
    def gains(self) -> Floats:
        """Strong good − small good, of each pair."""
        return np.asarray(self.good[:, 0] - self.good[:, 1])


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Estimates on the held-out part, each with interval and n."""

    strong: Estimate
    small: Estimate
    difference: Estimate
    coverage: Estimate
    regret: Estimate
    regrets: int
    apgr: Mapping[str, Estimate]
    unscored: int


def split(pairs: Sequence[RecordedPair], held_out: float) -> tuple[list[RecordedPair], list[RecordedPair]]:
    """The learning part and the held-out part, each in an order that depends on the prompts alone."""
    shuffled = sorted(pairs, key=lambda pair: hashlib.blake2b(pair.key.encode()).digest())
    kept = round(len(shuffled) * (1 - held_out))
    return shuffled[:kept], shuffled[kept:]


def outcomes(pairs: Sequence[RecordedPair], task: TaskSettings) -> Outcomes:
    """Label both answers of every pair with the task's checks."""
    checks = build_checks(task.checks)
    verdicts = [
        [_verdict(checks, pair.check or task.check, pair, tier) for tier in (Tier.STRONG, Tier.SMALL)]
        for pair in pairs
    ]
    scored = [i for i, both in enumerate(verdicts) if Verdict.UNSCORED not in both]
    good = [[v == Verdict.GOOD for v in verdicts[i]] for i in scored]
    return Outcomes(
        [pairs[i] for i in scored],
        np.asarray(good, dtype=float).reshape(-1, 2),
        len(pairs) - len(scored),
    )


def _verdict(checks: Mapping[str, Check], name: str | None, pair: RecordedPair, tier: Tier) -> Verdict:
    if name is None or name not in checks:
        return Verdict.UNSCORED
    try:
        return applied(checks[name], Subject(pair.answers[tier].text, pair.reference)).verdict
    except CheckError:
        return Verdict.UNSCORED


def evaluate(router: Router, learned: Outcomes, held: Outcomes, *, confidence: float = 0.95) -> HeldOut:
    """Score the held-out prompts with the router and with the baselines."""
    strong, small = held.good[:, 0], held.good[:, 1]
    gains = np.array([router.score(pair.prompt).gain for pair in held.pairs])
    to_small = gains <= router.threshold
    answered = np.where(to_small, small, strong)
    regrets = int((to_small & (strong > small)).sum())
    n = len(held.pairs)
    return HeldOut(
        strong=mean_outcome(strong, confidence=confidence),
        small=mean_outcome(small, confidence=confidence),
        difference=paired_difference(answered, strong, confidence),
        coverage=proportion(int(to_small.sum()), n, confidence),
        regret=proportion(regrets, n, confidence),
        regrets=regrets,
        apgr={
            name: bootstrap_curve({"apgr": curve_apgr}, scores, strong, small, confidence=confidence)["apgr"]
            for name, scores in {"router": gains, **_baselines(learned, held)}.items()
        },
        unscored=held.unscored,
    )


def _baselines(learned: Outcomes, held: Outcomes) -> dict[str, Floats]:
    texts = [pair.prompt.text for pair in held.pairs]
    known = [pair.prompt.text for pair in learned.pairs]
    scores = {
        "random": random_scores(len(texts)),
        "prompt length": prompt_length_scores(texts),
        "kNN": knn_scores(known, learned.gains, texts),
    }
    if any(pair.slice for pair in held.pairs):
        slices = [pair.slice or "" for pair in learned.pairs]
        scores["slice mean"] = slice_mean_scores(
            slices, learned.gains, [pair.slice or "" for pair in held.pairs]
        )
    return scores
