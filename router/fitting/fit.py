"""From labelled prompts to a router with a bound.

Invariant: the calibration prompts, from which the threshold is certified, have no part in anything else
of the model, and none of them has a duplicate among those that do. The same examples and seed give the
same router. The module does not know where examples come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import FEATURES_VERSION, featurize
from router.fitting.bound import Certificate, certify, prompts_needed
from router.fitting.grid import Grid, certify_grid, to_values
from router.fitting.quality import HeadQuality, head_quality
from router.fitting.splits import calibration_mask, first_of_each, fold_numbers
from router.fitting.two_head import GOOD, TwoHeadClassifier
from router.fitting.vectors import PromptVectors
from router.model import RouterModel, Weights
from router.prompt import Prompt
from stepdown.errors import NotEnoughEvidence

FITTING_VERSION = "1"
CALIBRATION_SHARE = 0.4
FOLDS = 5
QUANTILES = 200
MIN_LABELS = 50
LEAST_LABELS = 10


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with both models' outcomes.

    Attributes:
        group: Examples with the same key are duplicates (the prompt's hash, or its conversation).
        strong_good: Whether strong's answer was good; a score of at least 0.5 is.
        small_good: Likewise for small.
        slice: The kind of query, where it is known.
        certifiable: Whether the bound may rest on it: trusted labels of a random draw of the traffic.
    """

    prompt: Prompt
    group: str
    strong_good: float
    small_good: float
    slice: str | None = None
    certifiable: bool = True


@dataclass(frozen=True, slots=True)
class FittedRouter:
    """A router and what is known of it.

    Attributes:
        model: With the certified threshold.
        n_fit: Examples that the heads were fitted on.
        n_calibration: Held-out prompts, one of each group of duplicates.
        strong: Quality of the head for the strong model on the held-out prompts.
        small: Likewise for the small model.
        settings: What shaped the fit.
        choices: A certificate for each loss of the grid, for a person to choose among.
    """

    model: RouterModel
    certificate: Certificate
    n_fit: int
    n_calibration: int
    strong: HeadQuality
    small: HeadQuality
    settings: Mapping[str, Any]
    choices: tuple[Certificate, ...] = ()

    def summary(self) -> dict[str, Any]:
        """What a reader needs to judge the router, as JSON values."""
        return {
            "certificate": to_values(self.certificate),
            "n_fit": self.n_fit,
            "n_calibration": self.n_calibration,
            "strong": self.strong.summary(),
            "small": self.small.summary(),
        }


def fit_router(
    examples: Sequence[Example],
    *,
    epsilon: float,
    delta: float,
    seed: int = 0,
    min_labels: int = MIN_LABELS,
    grid: Grid = Grid((), 0.0),  # noqa: B008 - immutable
) -> FittedRouter:
    """Fit both heads on one part of the examples and certify a threshold on the other.

    Args:
        examples: Labelled prompts, in any order; the threshold is certified on the certifiable ones alone.
        epsilon: Allowed probability of a regret, in (0, 1).
        delta: Allowed probability that the bound does not hold, in (0, 1).
        seed: Decides who is held out.
        min_labels: Distinct prompts wanted; never fewer than 10.
        grid: Losses to certify beside epsilon, for a person to choose among.

    Raises:
        NotEnoughEvidence: There are fewer distinct prompts than wanted.
    """
    distinct, wanted = len({example.group for example in examples}), max(min_labels, LEAST_LABELS)
    if distinct < wanted:
        raise NotEnoughEvidence(
            f"{distinct} distinct prompts are labelled for both models and a router needs {wanted}; "
            f"wait for more traffic or lower min_labels"
        )
    ordered = sorted(examples, key=lambda e: (e.group, e.prompt.text, e.strong_good, e.small_good))
    fit_part, calibration = _split(ordered, seed)
    model, gains, settings = fit_model(fit_part, seed=seed)
    labels = _labels(calibration)
    scores = np.array([model.score(example.prompt) for example in calibration])
    counted = np.array([example.certifiable for example in calibration], dtype=np.bool_)
    held_out = (scores[:, 0] - scores[:, 1])[counted], (labels[:, 0] & ~labels[:, 1])[counted]
    thresholds = thresholds_from(gains)
    certificate = certify(*held_out, thresholds=thresholds, epsilon=epsilon, delta=delta)
    choices = certify_grid(*held_out, thresholds=thresholds, grid=grid)
    if not counted.all():
        certificate, choices = _told_what_to_label(certificate), tuple(map(_told_what_to_label, choices))
    return FittedRouter(
        model=model.with_threshold(certificate.threshold),
        certificate=certificate,
        n_fit=len(fit_part),
        n_calibration=len(calibration),
        strong=head_quality(labels[:, 0], scores[:, 0], seed=seed),
        small=head_quality(labels[:, 1], scores[:, 1], seed=seed),
        settings={**settings, "epsilon": epsilon, "delta": delta, "min_labels": min_labels},
        choices=choices,
    )


def fit_model(
    examples: Sequence[Example], *, seed: int = 0
) -> tuple[RouterModel, NDArray[np.float64], dict[str, Any]]:
    """Fit both heads on all examples.

    Returns:
        A model without a threshold, the out-of-fold gain of each example, and what shaped the fit.
    """
    features = [featurize(example.prompt) for example in examples]
    vectors = PromptVectors().fit(features)
    heads = TwoHeadClassifier(folds=FOLDS, seed=seed)
    fold = fold_numbers([example.group for example in examples], FOLDS, seed)
    heads.fit(vectors.transform(features), _labels(examples), fold)
    settings = {
        "features": FEATURES_VERSION,
        "fitting": FITTING_VERSION,
        "seed": seed,
        "folds": FOLDS,
        "calibration_share": CALIBRATION_SHARE,
        "strengths": [float(strength) for strength in heads.strengths_],
    }
    return to_model(vectors, heads), heads.oof_proba_[:, 0] - heads.oof_proba_[:, 1], settings


def to_model(vectors: PromptVectors, heads: TwoHeadClassifier) -> RouterModel:
    """The model that scores as the two estimators do, on the strong model until it has a threshold."""
    coef, known = heads.coef_.T, len(vectors.buckets_)
    return RouterModel(
        Weights(
            buckets=vectors.buckets_.astype(np.float64),
            idf=vectors.idf_,
            text=coef[:known],
            centre=vectors.centre_,
            scale=vectors.scale_,
            structure=coef[known:],
            intercept=heads.intercept_,
            clip=np.array(vectors.clip_),
        )
    )


def thresholds_from(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Candidate thresholds: quantiles of the out-of-fold gains, and 1, at which small answers all."""
    return np.append(np.quantile(gains, np.linspace(0.0, 1.0, QUANTILES + 1)), 1.0)


def _split(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    held_out = calibration_mask([example.group for example in examples], CALIBRATION_SHARE, seed)
    fit_part = [example for example, held in zip(examples, held_out, strict=True) if not held]
    calibration = [example for example, held in zip(examples, held_out, strict=True) if held]
    if not fit_part or not calibration:
        raise NotEnoughEvidence(
            f"{len(examples)} examples leave {len(fit_part)} to fit on, {len(calibration)} to calibrate on; "
            "wait for more traffic"
        )
    # Of duplicates, one that the bound may rest on is kept where there is one.
    calibration.sort(key=lambda example: (example.group, not example.certifiable))
    kept = first_of_each([example.group for example in calibration])
    return fit_part, [calibration[i] for i in kept]


def _told_what_to_label(certificate: Certificate) -> Certificate:
    """The certificate; where too few labels are trusted to allow anything, its reason says what to do."""
    missing = prompts_needed(certificate.epsilon, certificate.delta) - certificate.n
    if certificate.coverage > 0 or missing <= 0:
        return certificate
    wanted = math.ceil(missing / CALIBRATION_SHARE)
    reason = (
        f"{certificate.n} calibration prompts have trusted labels for both models, {missing} more are "
        f"needed: label about {wanted} audit requests by hand (a share of {CALIBRATION_SHARE:g} of them "
        "calibrates), or set certify_on = 'judged'"
    )
    return replace(certificate, reason=reason)


def _labels(examples: Sequence[Example]) -> NDArray[np.bool_]:
    scores = np.array([(e.strong_good, e.small_good) for e in examples], dtype=np.float64)
    return np.asarray(scores >= GOOD)
