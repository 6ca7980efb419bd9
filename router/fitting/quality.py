"""How well a head's probabilities keep their word on held-out prompts.

Invariant: every estimate carries its interval and its n. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.fitting.two_head import log_loss

Floats = NDArray[np.float64]
BINS = 10
DRAWS = 200
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its bootstrap interval at 95 %."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class HeadQuality:
    """A head on held-out prompts.

    Attributes:
        rate: Share of good answers.
        brier: Mean squared error of the probability.
        log_loss: Mean negative log likelihood, in nats.
        calibration_error: Expected calibration error over ten bins of equal count.
    """

    rate: Estimate
    brier: Estimate
    log_loss: Estimate
    calibration_error: Estimate

    def summary(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def head_quality(good: NDArray[np.bool_], p: Floats, *, seed: int) -> HeadQuality:
    """Judge probabilities by what came true; at least one prompt."""
    return HeadQuality(
        rate=_estimate(lambda g, _: float(g.mean()), good, p, seed),
        brier=_estimate(lambda g, q: float(((q - g) ** 2).mean()), good, p, seed),
        log_loss=_estimate(log_loss, good, p, seed),
        calibration_error=_estimate(calibration_error, good, p, seed),
    )


def calibration_error(good: NDArray[np.bool_], p: Floats) -> float:
    """Expected calibration error: mean distance of probability and rate over bins of equal count."""
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs(p[b].sum() - good[b].sum()) for b in bins) / len(order))


def _estimate(
    statistic: Callable[[NDArray[np.bool_], Floats], float], good: NDArray[np.bool_], p: Floats, seed: int
) -> Estimate:
    n = len(good)
    rng = np.random.default_rng(seed)
    draws = [statistic(good[rows], p[rows]) for rows in (rng.integers(0, n, n) for _ in range(DRAWS))]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return Estimate(statistic(good, p), float(low), float(high), n)
