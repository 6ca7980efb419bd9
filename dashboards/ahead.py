"""Draws pages before somebody asks for them: their charts take longer than all else on them.

Invariant: it only looks, as nobody in particular, and what it saw is thrown away: pages become fast by what
they keep for whoever comes next. A page that fails is logged, and keeps no other from being drawn. A task
that nobody looked at for `LATELY_S` costs nothing, but for the page on which everybody arrives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

EVERY_S = 20.0
LATELY_S = 600.0

log = logging.getLogger(__name__)


class Preview(NamedTuple):
    """A page that is worth drawing ahead.

    Attributes:
        see: Makes the page of a task.
        is_arrival: Whether people arrive on it.
    """

    see: Callable[[str], object]
    is_arrival: bool = False


class Ahead:
    """A thread that goes through the pages of the tasks that are looked at.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_at: dict[str, float] = {}
        self._is_new = threading.Event()

    def saw(self, task: str) -> None:
        """Somebody looks at a page of a task, and will look at its others next."""
        if not self._is_seen(task):
            self._is_new.set()
        self._seen_at[task] = self._clock()

    def start(self, previews: Sequence[Preview], arrival: str) -> None:
        """Draw the pages of the arrival, then those of all that is looked at, until the process ends.

        Returns once the arrival is drawn: the rest is done in a thread.

        Args:
            previews: The pages, the first ones first.
            arrival: The task on which people arrive.
        """
        self._seen_at[arrival] = self._clock()
        self.draw(previews, arrival)
        threading.Thread(target=self._run, args=(previews, arrival), name="ahead", daemon=True).start()

    def draw(self, previews: Sequence[Preview], arrival: str) -> None:
        """Draw what is worth it now."""
        for preview in previews:
            for task in dict.fromkeys((arrival, *self._seen_at)):
                if self._is_seen(task) or (preview.is_arrival and task == arrival):
                    _see(preview, task)

    def _run(self, previews: Sequence[Preview], arrival: str) -> None:
        while True:
            self._is_new.wait(EVERY_S)
            self._is_new.clear()
            self.draw(previews, arrival)

    def _is_seen(self, task: str) -> bool:
        return self._clock() - self._seen_at.get(task, float("-inf")) < LATELY_S


def _see(preview: Preview, task: str) -> None:
    try:
        preview.see(task)
    except Exception:  # whoever asks for the page is told
        log.warning("a page of task %r could not be drawn ahead", task, exc_info=True)
