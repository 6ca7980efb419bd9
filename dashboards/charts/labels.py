"""Where the names of lines and points go, so that a chart needs no legend.

Invariant: names overlap neither each other nor, where there is room, what is drawn; the same picture gets the
same places. Pure geometry in pixels, from the upper left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

CHARACTER = 6.4  # mean width at the font size of charts
LINE = 15.0
HIDING_A_NAME = 1_000.0
LEAVING_THE_CHART = 10_000.0


class Place(NamedTuple):
    """A point."""

    x: float
    y: float


class Box(NamedTuple):
    """What a name takes up."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, centre: Place, text: str) -> Box:
        """The box of a name at a place."""
        half = (len(text) * CHARACTER + 6) / 2
        return cls(centre.x - half, centre.y - LINE / 2, centre.x + half, centre.y + LINE / 2)

    def meets(self, other: Box) -> bool:
        """Whether two boxes overlap."""
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.top < other.bottom and other.top < self.bottom

    def leaves(self, width: float, height: float) -> bool:
        """Whether a part of it is outside of a chart."""
        return self.left < 0 or self.top < 0 or self.right > width or self.bottom > height


class Canvas:
    """A chart that names are put on, one after the other.

    Args:
        width: Of the chart, in pixels.
        height: Likewise.
        drawn: Points of what is drawn, which names should not hide.
    """

    def __init__(self, width: float, height: float, drawn: Sequence[Place]) -> None:
        self._width, self._height = width, height
        self._drawn = np.array(drawn, dtype=np.float64).reshape(-1, 2)
        self._taken: list[Box] = []

    def put(self, text: str, centres: Iterable[Place]) -> Place:
        """Put a name at the best of some places, the first of which is preferred among equals."""
        places = list(centres)
        best = min(places, key=lambda centre: self._cost(Box.around(centre, text)))
        self._taken.append(Box.around(best, text))
        return best

    def _cost(self, box: Box) -> float:
        inside = (self._drawn > (box.left, box.top)) & (self._drawn < (box.right, box.bottom))
        hidden = float(inside.all(axis=1).sum())
        names = sum(box.meets(other) for other in self._taken)
        outside = box.leaves(self._width, self._height)
        return hidden + HIDING_A_NAME * names + LEAVING_THE_CHART * outside


def beside(place: Place, text: str, gap: float = 12.0) -> list[Place]:
    """Places around a point: at its sides and corners, then further above and below."""
    reach = (len(text) * CHARACTER + 6) / 2 + gap / 2
    downs = (0, -1, 1, -2, 2, -3, 3)
    aside = [Place(place.x + side * reach, place.y + down * gap) for down in downs for side in (1, -1)]
    return [*aside, *(Place(place.x, place.y + down * gap) for down in (-4, 4, -5, 5))]
