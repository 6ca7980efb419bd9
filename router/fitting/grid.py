"""Thresholds for a person to choose among after looking: one for each allowed quality loss of a fixed grid.

The promise: with confidence 1-delta over the draw of the calibration prompts, all thresholds of the grid keep
to their own losses at once. So whichever a person picks, knowing all of them, keeps to its loss, and they may
pick again as often as they like. Method: each of the m losses is certified as by `router.fitting.bound` at
level delta/m (Bonferroni; the losses share their prompts, and the union bound holds whatever they share).

Assumes that the grid was fixed without a look at the calibration labels, and that these do not change between
one look of the person and the next. Pure: knows nothing of prompts and models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.fitting.bound import Certificate, certify

LOSSES = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1)
NOTHING = -math.inf


class Grid(NamedTuple):
    """The losses that a person may choose among, and the probability that any of their promises is wrong."""

    losses: tuple[float, ...]
    delta: float


def grid_with(epsilon: float, delta: float) -> Grid:
    """The grid of a fit: the fixed losses, and the one that the fit itself is certified for."""
    return Grid(tuple(sorted({*LOSSES, epsilon})), delta)


def certify_grid(
    gains: NDArray[np.float64] | Sequence[float],
    regrets: NDArray[np.bool_] | Sequence[bool],
    *,
    thresholds: NDArray[np.float64] | Sequence[float],
    grid: Grid,
) -> tuple[Certificate, ...]:
    """The certificate of each loss, all of which hold together; see `router.fitting.bound.certify`.

    Raises:
        ValueError: As of `certify`.
    """
    each = grid.delta / max(1, len(grid.losses))
    return tuple(
        certify(gains, regrets, thresholds=thresholds, epsilon=loss, delta=each) for loss in grid.losses
    )


def best_within(certificates: Iterable[Certificate], loss: float) -> Certificate | None:
    """Of the certificates for no more than a loss, the one that gives small the most.

    Of two that give as much it is the one for the larger loss; None is where none gives small anything.
    """
    allowed = [one for one in certificates if one.epsilon <= loss and one.coverage > 0]
    return max(allowed, key=lambda one: (one.threshold, one.epsilon, one.delta), default=None)


def to_values(certificate: Certificate) -> dict[str, Any]:
    """A certificate as JSON values; a threshold of minus infinity, which allows nothing, is null."""
    values = asdict(certificate)
    if math.isinf(certificate.threshold):
        values["threshold"] = None
    return values


def from_values(values: Mapping[str, Any]) -> Certificate:
    """The certificate that `to_values` wrote."""
    threshold = values["threshold"]
    return Certificate(**{**values, "threshold": NOTHING if threshold is None else float(threshold)})
