"""What took long to make, kept for a while and shown to everybody who comes meanwhile.

Invariant: what is taken from the shelf is no older than asked for; of those who want the same thing at the
same time, one makes it and the others wait. Errors are not kept. Knows nothing of what it keeps.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

MOST_KEPT = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Place:
    """Where one thing is kept; `made_at` is on the monotonic clock, in seconds."""

    making: threading.Lock = field(default_factory=threading.Lock)
    made_at: float = float("-inf")
    thing: Any = None


class Shelf:
    """Keeps the things that were lately asked for, at most `MOST_KEPT`; may be used by many threads.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: Hashable, make: Callable[[], T], max_age_s: float) -> T:
        """The thing of a name, made anew where the kept one is too old.

        Args:
            name: What it is; the same name is the same thing.
            make: Makes it. Whatever it raises is raised, and nothing is kept.
            max_age_s: How old it may be, in seconds; at 0 it is made anew, unless another thread made it
                while this one waited.
        """
        asked_at = self._clock()
        place = self._place_of(name)
        if place.made_at >= asked_at - max_age_s:
            return place.thing  # type: ignore[no-any-return]
        with place.making:
            if place.made_at < asked_at - max_age_s:
                began_at = self._clock()
                place.thing = make()
                place.made_at = began_at
            return place.thing  # type: ignore[no-any-return]

    def _place_of(self, name: Hashable) -> _Place:
        with self._lock:
            place = self._places.setdefault(name, _Place())
            self._places.move_to_end(name)
            while len(self._places) > MOST_KEPT:
                self._places.popitem(last=False)
            return place
