"""A process that outlives its parent by a moment, to end what the parent leaves behind.

Invariant: when the parent dies, by whatever signal, the pipe between them closes, and every process
group that the parent had running gets SIGTERM and then SIGKILL. The watchdog does nothing else, and
imports nothing but the standard library, since it runs as a script of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import BinaryIO

GRACE_S = 3.0
TICK_S = 0.05


def signal_group(group: int, number: int) -> bool:
    """Signal a process group; False where there is none."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        return False
    return True


class Watchdog:
    """The parent's end: a child process that is told which groups to end.

    Usable as a context manager, which stops the watchdog.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process = self._start()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()

    def watch(self, group: int) -> None:
        """Have a process group ended if this process dies."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Take a group back, whose number may be given to other processes from now on."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def keep_alive(self) -> None:
        """Start the watchdog again if somebody ended it."""
        if self._process.poll() is not None:
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()
            self._process = self._start()
            for group in self._groups:
                self._tell(f"+{group}\n")

    @property
    def _pipe(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", __file__]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True
        )

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: `keep_alive` tells the next one
            self._pipe.write(line.encode())


def guard(lines: BinaryIO) -> None:
    """Keep the set of groups up to date until the parent is gone, then end them."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        groups.add(group) if line[:1] == b"+" else groups.discard(group)
    end(groups)


def end(groups: set[int]) -> None:
    """SIGTERM, and SIGKILL for those that are still there after a while."""
    left = {group for group in groups if signal_group(group, signal.SIGTERM)}
    deadline = time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(TICK_S)
        left = {group for group in left if signal_group(group, 0)}
    for group in left:
        signal_group(group, signal.SIGKILL)


if __name__ == "__main__":
    guard(sys.stdin.buffer)
