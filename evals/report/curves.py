"""The cost-quality curve of the router and of what it must beat, on held-out pairs. Pure.

Invariant: no pair that is shown here had a part in fitting what scores it: neither in the router's fit
part nor in that of the baselines, which is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from evals.metrics.baselines import (
    knn_scores,
    prompt_length_scores,
    random_scores,
    shuffled_quality,
    slice_mean_scores,
)
from evals.metrics.intervals import Estimate, Floats, mean_outcome, paired_difference
from evals.metrics.pgr import (
    Curve,
    bootstrap_curve,
    cost_quality_curve,
    curve_apgr,
    curve_band,
    curve_cpt,
    quality_at,
)
from evals.report.tree import Curves, Ranking
from stepdown.errors import NotEnoughEvidence

GRID = np.linspace(0.0, 1.0, 51)
MIN_HELD_OUT = 30
ROUTER = "router"


class Parts(NamedTuple):
    """Labelled pairs with their prompt's `text`, parted by the router that is shown.

    Attributes:
        fit: What the router was fitted on.
        held_out: The others, with the router's `gain` and whether they are `later` than the router.
    """

    fit: pd.DataFrame
    held_out: pd.DataFrame


def curves(artifact: str, epsilon: float, threshold: float, parts: Parts, confidence: float) -> Curves:
    """The curves.

    Raises:
        NotEnoughEvidence: Too few pairs are held out.
    """
    rows = parts.held_out
    if len(rows) < MIN_HELD_OUT:
        raise NotEnoughEvidence(
            f"the cost-quality curve needs {MIN_HELD_OUT - len(rows)} more held-out pairs: {len(rows)} are "
            "labelled for both models and had no part in fitting the router"
        )
    strong, small, groups = _floats(rows, "strong_good"), _floats(rows, "small_good"), _groups(rows)
    takes_small = _floats(rows, "gain") <= threshold
    chosen = np.where(takes_small, small, strong)
    coverage = mean_outcome(takes_small.astype(float), groups=groups, confidence=confidence)
    policy = mean_outcome(chosen, groups=groups, confidence=confidence)
    low, high = curve_band(rows["gain"], strong, small, GRID, groups=groups, confidence=confidence)
    return Curves(
        artifact=artifact,
        pairs=len(rows),
        calibration=int((~rows["later"]).sum()),
        later=int(rows["later"].sum()),
        fit_pairs=len(parts.fit),
        strong_share=_tuple(GRID),
        low=_tuple(low),
        high=_tuple(high),
        coverage=coverage,
        policy=policy,
        difference=paired_difference(chosen, strong, confidence, groups=groups),
        strong=mean_outcome(strong, groups=groups, confidence=confidence),
        small=mean_outcome(small, groups=groups, confidence=confidence),
        shuffle=shuffled_quality(coverage.value, strong, small, groups=groups, confidence=confidence),
        strong_usd_micros=_mean_cost(rows, "strong"),
        small_usd_micros=_mean_cost(rows, "small"),
        epsilon=epsilon,
        rankings=tuple(
            _ranking(name, scores, rows, coverage.value, policy if name == ROUTER else None, confidence)
            for name, scores in _all_scores(parts).items()
        ),
    )


def _all_scores(parts: Parts) -> dict[str, Floats]:
    fit, rows = parts
    gains = _floats(fit, "strong_good") - _floats(fit, "small_good")
    texts, fit_texts = rows["text"].tolist(), fit["text"].tolist()
    scores = {
        ROUTER: _floats(rows, "gain"),
        "kNN": knn_scores(fit_texts, gains, texts),
        "prompt length": prompt_length_scores(texts),
        "random": random_scores(len(rows)),
    }
    if rows["slice"].notna().any():
        names, fit_names = rows["slice"].fillna("").tolist(), fit["slice"].fillna("").tolist()
        scores["per-slice mean"] = slice_mean_scores(fit_names, gains, names)
    return scores


def _ranking(
    name: str,
    scores: Floats,
    rows: pd.DataFrame,
    coverage: float,
    quality: Estimate | None,
    confidence: float,
) -> Ranking:
    strong, small = _floats(rows, "strong_good"), _floats(rows, "small_good")
    statistics: dict[str, Callable[[Curve], Floats]] = {
        "apgr": curve_apgr,
        "cpt50": lambda curve: curve_cpt(curve, 0.5),
        "cpt80": lambda curve: curve_cpt(curve, 0.8),
        "quality": lambda curve: quality_at(curve, 1 - coverage),
    }
    found = bootstrap_curve(statistics, scores, strong, small, groups=_groups(rows), confidence=confidence)
    whole = cost_quality_curve(scores, strong, small)
    return Ranking(
        name=name,
        apgr=found["apgr"],
        cpt50=found["cpt50"],
        cpt80=found["cpt80"],
        quality=quality or found["quality"],
        quality_curve=_tuple(np.interp(GRID, whole.strong_share, whole.quality)),
    )


def _mean_cost(rows: pd.DataFrame, tier: str) -> float | None:
    known = rows[f"{tier}_cost_usd_micros"].dropna()
    return float(known.mean()) if len(known) else None


def _floats(rows: pd.DataFrame, name: str) -> Floats:
    return rows[name].to_numpy(dtype=np.float64)


def _groups(rows: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    return rows["prompt_hash"].to_numpy(dtype=str)


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
