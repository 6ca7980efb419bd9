"""How much may go to the small model: a threshold with a promise that held-out labels support.

The promise: with confidence 1-delta over the draw of the calibration prompts, P(regret) <= epsilon, where
a regret is a request that the router gives to the small model although the strong one is right and the
small one wrong; requests that go to the strong model count, and are no regrets.

Method: fixed-sequence testing (Angelopoulos et al., Learn then Test, 2021) of thresholds from the most
conservative up, each by the exact binomial (Clopper-Pearson) upper bound at level delta, until the first
failure. A larger threshold serves a superset, so both the true and the counted regrets can only grow
along the sequence: nothing is lost by starting at the very smallest, no threshold could pass after a
failure, and trying many costs no confidence (the same argument as in Bates et al., Risk-Controlling
Prediction Sets, 2021).

Assumes that the calibration prompts are independent draws from the traffic to come, and had no part in
fitting the scores. Pure: knows nothing of prompts and models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

CERTIFIED = "certified"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the calibration labels allow.

    Attributes:
        threshold: Small iff gain <= threshold; -inf where nothing is allowed.
        coverage: Share of the calibration prompts that the small model answers.
        regrets: Regrets among them at the threshold.
        served: How many the small model answers.
        n: Calibration prompts.
        epsilon: Allowed probability of a regret.
        delta: Allowed probability that the promise is wrong.
        upper: Upper confidence bound of P(regret) at the threshold; at coverage 0 no regret is possible
            and the bound shown is that of the first threshold that failed.
        tested: Thresholds tried, the failed one included.
        reason: `certified`, or why the coverage is 0.
    """

    threshold: float
    coverage: float
    regrets: int
    served: int
    n: int
    epsilon: float
    delta: float
    upper: float
    tested: int
    reason: str


def clopper_pearson_upper(events: int, n: int, delta: float) -> float:
    """Exact upper confidence bound of a proportion, one-sided, at confidence 1-delta.

    Raises:
        ValueError: events is not in [0, n], n is below 1 or delta not in (0, 1).
    """
    if not 0 <= events <= n or n < 1 or not 0 < delta < 1:
        raise ValueError(f"no bound for {events!r} events of {n!r} at delta={delta!r}")
    return 1.0 if events == n else float(beta.ppf(1 - delta, events + 1, n - events))


def prompts_needed(epsilon: float, delta: float) -> int:
    """Fewest calibration prompts that could support epsilon, if none of them is a regret."""
    return math.ceil(math.log(delta) / math.log1p(-epsilon))


def most_regrets(n: int, epsilon: float, delta: float) -> int:
    """Most regrets among n prompts that still support epsilon; -1 where even none does not."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if clopper_pearson_upper(middle, n, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low


def certify(
    gains: NDArray[np.float64] | Sequence[float],
    regrets: NDArray[np.bool_] | Sequence[bool],
    *,
    thresholds: NDArray[np.float64] | Sequence[float],
    epsilon: float,
    delta: float,
) -> Certificate:
    """Choose the largest threshold that the calibration labels support.

    Args:
        gains: Gain of each calibration prompt. (n,)
        regrets: Whether it would be a regret if small answered: strong good and small bad. (n,)
        thresholds: What may be chosen, in any order; fixed without a look at the calibration labels.
        epsilon: Allowed probability of a regret, in (0, 1).
        delta: Allowed probability that the promise is wrong, in (0, 1).

    Raises:
        ValueError: Lengths differ, a gain or threshold is NaN, or epsilon or delta is out of range.
    """
    gain, regret = np.asarray(gains, dtype=np.float64), np.asarray(regrets, dtype=np.bool_)
    sequence = np.unique(np.asarray(thresholds, dtype=np.float64))
    _check(gain, regret, sequence, epsilon, delta)
    allowed = most_regrets(len(gain), epsilon, delta) if len(gain) else -1
    counts = np.searchsorted(np.sort(gain[regret]), sequence, side="right")
    failed = int(np.searchsorted(counts, allowed, side="right"))
    chosen = failed - 1
    served = int((gain <= sequence[chosen]).sum()) if chosen >= 0 else 0
    first = int(counts[0]) if len(counts) else 0
    shown = int(counts[chosen]) if served else first
    return Certificate(
        threshold=float(sequence[chosen]) if served else -math.inf,
        coverage=served / len(gain) if served else 0.0,
        regrets=shown if served else 0,
        served=served,
        n=len(gain),
        epsilon=epsilon,
        delta=delta,
        upper=clopper_pearson_upper(shown, len(gain), delta) if len(gain) else 1.0,
        tested=min(failed + 1, len(sequence)),
        reason=CERTIFIED if served else _why_not(len(gain), first, allowed, epsilon, delta),
    )


def _why_not(n: int, first: int, allowed: int, epsilon: float, delta: float) -> str:
    level = f"{1 - delta:.4g} confidence"
    if allowed < 0:
        best = clopper_pearson_upper(0, n, delta) if n else 1.0
        return (
            f"n={n} calibration prompts cannot support a quality loss of {epsilon:g} at {level}: even 0 "
            f"regrets give an upper bound of {best:.3g}; at least {prompts_needed(epsilon, delta)} are needed"
        )
    if first > allowed:
        return (
            f"{first} regrets among n={n} calibration prompts at the smallest threshold; a quality loss of "
            f"{epsilon:g} at {level} allows {allowed}"
        )
    return (
        f"every threshold that keeps the quality loss under {epsilon:g} gives no calibration prompt to small"
    )


def _check(
    gain: NDArray[np.float64],
    regret: NDArray[np.bool_],
    sequence: NDArray[np.float64],
    epsilon: float,
    delta: float,
) -> None:
    if gain.shape != regret.shape or gain.ndim != 1:
        raise ValueError(f"gains of shape {gain.shape} and regrets of shape {regret.shape} must be alike")
    if np.isnan(gain).any() or np.isnan(sequence).any():
        raise ValueError("a gain or a threshold is NaN")
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value!r} must be above 0 and below 1")
