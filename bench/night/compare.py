"""The small model before and after a night, on prompts that the student was not trained on.

Invariant: both are compared on the same prompts, with the same fit and the same bound. Prompts that the
student was trained on are not among them, because a student is not asked those again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evals.harness.compare import Tested, compare_pair, mean_with_intervals
from evals.metrics.intervals import Estimate, clopper_pearson
from evals.outcomes import read_outcomes, training_examples
from router.fitting.fit import CALIBRATION_SHARE, Example, fit_router
from router.fitting.splits import position
from stepdown.ledger import Ledger
from stepdown.settings import TaskSettings

SEED = 0
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Quality:
    """Share of good answers before and after, of all held-out prompts or of one kind.

    Attributes:
        kind: None for all.
        tested: After minus before, paired.
    """

    kind: str | None
    strong: Estimate
    before: Estimate
    after: Estimate
    tested: Tested


@dataclass(frozen=True, slots=True)
class Routing:
    """What a router can send to a small model under the bound.

    Attributes:
        coverage: Of the prompts that certified the threshold.
        saving_usd_micros: Of a request, by what strong and small took for the same prompts.
        share: Of what strong would have cost.
        why: Where nothing is certified; else empty.
    """

    coverage: Estimate
    saving_usd_micros: Estimate
    share: float
    bound: float
    why: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything that the report says of the student."""

    quality: Sequence[Quality]
    before: Routing
    after: Routing


def compare(ledger: Ledger, name: str, task: TaskSettings, student: str) -> Compared:
    """Compare the small model as declared with a student of it.

    Raises:
        NotEnoughEvidence: Too few prompts are labelled.
        LedgerError: The ledger refused.
    """
    frames = {
        when: read_outcomes(ledger, name, audit_share=task.audit_share, student=which).labelled_pairs
        for when, which in (("before", None), ("after", student))
    }
    common = set(frames["before"]["id"]) & set(frames["after"]["id"])
    before, after = (frame[frame["id"].isin(common)].reset_index(drop=True) for frame in frames.values())
    kinds = sorted(set(before["slice"].dropna()))
    return Compared(
        [_quality(before, after, None), *(_quality(before, after, kind) for kind in kinds)],
        _routing(training_examples(ledger, before), before, task),
        _routing(training_examples(ledger, after), after, task),
    )


def _quality(before: pd.DataFrame, after: pd.DataFrame, kind: str | None) -> Quality:
    chosen = np.ones(len(before), dtype=bool) if kind is None else (before["slice"] == kind).to_numpy()
    old, new = (frame.loc[chosen, "small_good"].to_numpy(float) for frame in (before, after))
    groups = before.loc[chosen, "prompt_hash"].to_numpy()
    tested = compare_pair(new, old, groups, confidence=CONFIDENCE)
    strong = before.loc[chosen, "strong_good"].to_numpy(float)
    return Quality(kind, _share(strong), _share(old), _share(new), tested)


def _share(good: np.ndarray) -> Estimate:
    return Estimate(float(good.mean()), *clopper_pearson(float(good.sum()), len(good), CONFIDENCE), len(good))


def _routing(examples: Sequence[Example], pairs: pd.DataFrame, task: TaskSettings) -> Routing:
    fitted = fit_router(
        examples,
        epsilon=task.max_quality_loss,
        delta=1 - task.confidence,
        seed=SEED,
        min_labels=task.min_labels,
    )
    held = [position(group, SEED) < CALIBRATION_SHARE for group in pairs["prompt_hash"]]
    by_group = {example.group: example.prompt for example in examples}
    certifying = pairs[held]
    taken = np.array(
        [
            fitted.model.score(by_group[group]).gain <= fitted.model.threshold
            for group in certifying["prompt_hash"]
        ]
    )
    strong = certifying["strong_cost_usd_micros"].to_numpy(float)
    small = certifying["small_cost_usd_micros"].to_numpy(float)
    groups = certifying["prompt_hash"].to_numpy()
    saving = mean_with_intervals(np.where(taken, strong - small, 0.0), groups, (CONFIDENCE,))[0]
    certificate = fitted.certificate
    return Routing(
        _share(taken.astype(float)),
        saving,
        saving.value / float(strong.mean()),
        certificate.upper,
        "" if certificate.coverage > 0 else certificate.reason,
    )
