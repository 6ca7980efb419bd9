"""A limit on the time that somebody else's code may take, such as a pattern that backtracks for ever.

It does not know what runs inside. It works where Python lets a signal interrupt: in the main thread of
a process. In any other thread the code runs without a limit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stepdown.errors import CheckError


class OutOfTime(CheckError):
    """The time was up: whoever catches what a check raises has to let this pass."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block when the time is up.

    Raises:
        OutOfTime: The time was up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime(f"no verdict within {seconds:g} s; look for a pattern that backtracks")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
