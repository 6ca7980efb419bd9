"""Who is fitted on and who is held out, decided by a hash.

Invariant: examples of one group are never on both sides of a split, and a group stays on its side from
night to night while examples come and go, because the side depends on its key and the seed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def position(group: str, seed: int, salt: str = "") -> float:
    """Where a group falls in [0, 1): uniform over groups, fixed for each."""
    key = f"{seed}\x00{salt}\x00{group}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / float(1 << 56)


def calibration_mask(groups: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which examples are held out for calibration: about `share` of the groups, whole."""
    return np.array([position(group, seed) < share for group in groups], dtype=np.bool_)


def first_of_each(groups: Sequence[str]) -> NDArray[np.intp]:
    """Index of each group's first example, in order: what is left is free of duplicates."""
    return np.array(
        sorted({group: i for i, group in reversed(list(enumerate(groups)))}.values()), dtype=np.intp
    )


def fold_numbers(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each example, 0 to folds-1; groups whole, folds as even in groups as they can be."""
    distinct = sorted(set(groups), key=lambda group: (position(group, seed, "fold"), group))
    fold = {group: place % folds for place, group in enumerate(distinct)}
    return np.array([fold[group] for group in groups], dtype=np.intp)
