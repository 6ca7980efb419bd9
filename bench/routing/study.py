"""What a router and the baselines are worth on a recording, each prompt scored by a fit that never saw it.

Invariant: a prompt and its duplicates are in one fold, and whatever scores a fold (the router or a
baseline) was fitted on the other folds only. Nothing here was tuned on the recording under study by this
module; the fit chooses its own regularisation inside each fit part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.routing.outcomes import Outcomes
from evals.metrics.baselines import knn_scores, prompt_length_scores, random_scores, slice_mean_scores
from evals.metrics.intervals import Estimate, percentile_interval, resampled_weights
from evals.metrics.pgr import Curve, curve_apgr, curve_cpt, ranked, weighted_curve
from router.fitting.fit import fit_model
from router.fitting.splits import fold_numbers, position

Floats = NDArray[np.float64]
Scorer = Callable[[Outcomes, NDArray[np.intp], NDArray[np.intp], int], Floats]

FOLDS = 5
STATISTICS: dict[str, Callable[[Curve], Floats]] = {
    "APGR": curve_apgr,
    "CPT50": partial(curve_cpt, x=0.5),
    "CPT80": partial(curve_cpt, x=0.8),
}


@dataclass(frozen=True, slots=True)
class Study:
    """What came out for one recording.

    Attributes:
        labels: Labelled prompts in each fit, on average.
        scorers: By name, the statistics: mean over the seeds, with its bootstrap interval.
    """

    recording: str
    n: int
    labels: int
    seeds: int
    strong: float
    small: float
    scorers: Mapping[str, Mapping[str, Estimate]]


def router(outcomes: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> Floats:
    """The gain, from a router fitted on the fit part."""
    model, _, _ = fit_model([outcomes.examples[i] for i in fit], seed=seed)
    return np.array([model.score(outcomes.examples[i].prompt).gain for i in held])


def _random(outcomes: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> Floats:
    return random_scores(len(held))


def _length(outcomes: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> Floats:
    return prompt_length_scores([outcomes.examples[i].prompt.text for i in held])


def _knn(outcomes: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> Floats:
    texts, good = outcomes.texts, outcomes.good
    return knn_scores([texts[i] for i in fit], good[fit, 0] - good[fit, 1], [texts[i] for i in held])


def _slice_mean(outcomes: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> Floats:
    slices, good = outcomes.slices or (), outcomes.good
    return slice_mean_scores([slices[i] for i in fit], good[fit, 0] - good[fit, 1], [slices[i] for i in held])


def scorers_for(outcomes: Outcomes) -> dict[str, Scorer]:
    """The router, and the baselines that the recording allows."""
    scorers: dict[str, Scorer] = {
        "router": router,
        "random": _random,
        "prompt length": _length,
        "kNN": _knn,
    }
    if outcomes.slices is not None:
        scorers["slice mean"] = _slice_mean
    return scorers


def study(
    outcomes: Outcomes,
    *,
    seeds: Sequence[int],
    labels: int | None = None,
    draws: int = 1000,
    on_fold: Callable[[], None] = lambda: None,
) -> Study:
    """Cross-fit every scorer with each seed.

    Args:
        outcomes: The recording.
        seeds: A seed decides the folds and which labels count.
        labels: At most so many labelled prompts in each fit; None takes all that are not held out.
        draws: Bootstrap resamples of prompts.
        on_fold: Called after each fold.
    """
    scorers = scorers_for(outcomes)
    scores: dict[str, list[Floats]] = {name: [] for name in scorers}
    sizes: list[int] = []
    for seed in seeds:
        folded = {name: np.zeros(len(outcomes.examples)) for name in scorers}
        for fit, held in _folds(outcomes, seed, labels):
            sizes.append(len(fit))
            for name, scorer in scorers.items():
                folded[name][held] = scorer(outcomes, fit, held, seed)
            on_fold()
        for name, values in folded.items():
            scores[name].append(values)
    strong, small = outcomes.good.mean(axis=0)
    return Study(
        recording=outcomes.name,
        n=len(outcomes.examples),
        labels=round(float(np.mean(sizes))),
        seeds=len(seeds),
        strong=float(strong),
        small=float(small),
        scorers={name: _estimates(outcomes, of_seeds, draws) for name, of_seeds in scores.items()},
    )


def _folds(
    outcomes: Outcomes, seed: int, labels: int | None
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    groups = outcomes.groups
    number = fold_numbers(groups, FOLDS, seed)
    turn = np.argsort([position(group, seed, "label") for group in groups], kind="stable")
    return [
        (np.sort(turn[number[turn] != fold][:labels]), np.flatnonzero(number == fold))
        for fold in range(FOLDS)
    ]


def _estimates(outcomes: Outcomes, of_seeds: Sequence[Floats], draws: int) -> dict[str, Estimate]:
    """The mean over the seeds; each resample of prompts is the same for all of them."""
    good, n = outcomes.good, len(outcomes.examples)
    rankings = [ranked(scores, good[:, 0], good[:, 1]) for scores in of_seeds]
    whole = [weighted_curve(rows, np.ones(n)) for rows in rankings]
    values: dict[str, list[Floats]] = {name: [] for name in STATISTICS}
    for weights in resampled_weights(n, groups=outcomes.groups, draws=draws):
        curves = [weighted_curve(rows, weights) for rows in rankings]
        for name, statistic in STATISTICS.items():
            values[name].append(np.mean([statistic(curve) for curve in curves], axis=0))
    return {
        name: Estimate(
            float(np.mean([statistic(curve) for curve in whole])),
            *percentile_interval(np.concatenate(values[name])),
            n,
        )
        for name, statistic in STATISTICS.items()
    }
