"""Several comparisons at once: p-values and confidences that hold for all of them together.

Invariant: correcting never makes a comparison look surer, and one comparison alone is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm, 1979): rejecting those at most alpha errs at all with at most alpha.

    Holds under any dependence of the comparisons. The order of the input is kept.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def joint_confidence(confidence: float, comparisons: int) -> float:
    """Confidence of each interval with which all of them hold at once (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, comparisons)
