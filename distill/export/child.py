"""Runs the trainer's Python and waits for it, no longer than the deadline.

Invariant: the child never outlives the wait, and every stretch of its time is told while it runs, so what a
killed export cost is known but for the last minute. Knows nothing of what the child does.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from stepdown.errors import OutOfBudget, TrainingError

CLOCK: Callable[[], float] = time.monotonic
STRETCH_S = 60.0
GRACE_S = 10.0
LAST_WORDS = 300


def run_child(argv: Sequence[str], log: Path, *, deadline: float, on_stretch: Callable[[float], None]) -> int:
    """Run a command to its end.

    Args:
        argv: The command; its input stays open for as long as this process lives.
        log: Where what it prints goes.
        deadline: Time of `CLOCK` at which it is ended.
        on_stretch: Told the seconds that it ran since it was last called; at least once.

    Returns:
        Its exit code, negative where a signal ended it.

    Raises:
        OutOfBudget: The deadline came first.
        TrainingError: There is no such command.
    """
    began = CLOCK()
    try:
        with log.open("ab") as out:
            child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=out)
    except OSError as error:
        raise TrainingError(
            f"the trainer's Python {argv[0]!r} cannot be started: {error.strerror}; set `trainer.python`"
        ) from error
    try:
        while child.poll() is None:
            left_s = deadline - CLOCK()
            if left_s <= 0:
                raise OutOfBudget("the time for the export is up; what is done of it is kept for the next")
            with suppress(subprocess.TimeoutExpired):
                child.wait(min(left_s, STRETCH_S))
            on_stretch(CLOCK() - began)
            began = CLOCK()
        return child.returncode
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
        child.kill()
        child.wait()
    if child.stdin is not None:
        child.stdin.close()


def last_words(log: Path) -> str:
    """The end of what a child printed, in one line."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines if line.strip())[-LAST_WORDS:]
