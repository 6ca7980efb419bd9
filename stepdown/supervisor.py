"""Runs named processes as one tree: starts them, restarts what dies or goes silent, ends all together.

Invariant: no child outlives the supervisor. Each child leads a session of its own, so that a terminal's
Ctrl-C reaches the supervisor alone, which then tells the children; and a watchdog process (see
`stepdown.watchdog`) ends them if the supervisor itself is killed. It does not know what they do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from stepdown import watchdog
from stepdown.ids import now

TICK_S = 0.2
HEALTH_EVERY_S = 2.0
GRACE_S = 10.0
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
STABLE_S = 30.0
FAILED_STARTS = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running.

    Attributes:
        name: What it is called in the supervisor's lines.
        argv: Its command.
        env: Its environment; None is the supervisor's own.
        ready: Whether it is ready, asked until it is; it gets the time of the process's start.
        healthy: What is wrong with it, or None; asked as long as it runs, with the time of its start.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    ready: Callable[[datetime], bool] | None = None
    healthy: Callable[[datetime], str | None] | None = None


@dataclass(slots=True)
class _Running:
    """A child and the state of its present process."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    started: datetime = field(default_factory=now)
    ready: bool = False
    ever_ready: bool = False
    failures: int = 0
    next_start: float = 0.0
    next_health: float = 0.0

    @property
    def is_hopeless(self) -> bool:
        """Whether it never ran, so that another start would not help."""
        return not self.ever_ready and self.failures >= FAILED_STARTS


def supervise(
    children: Sequence[Child],
    *,
    on_ready: Callable[[], None] = lambda: None,
    announce: Callable[[str], None] = lambda line: print(f"stepdown: {line}", flush=True),
    grace_s: float = GRACE_S,
) -> int:
    """Run the children until SIGINT, SIGTERM or SIGHUP; call from the main thread.

    A child that dies, or whose `healthy` complains, is started again, after a pause that doubles with
    each failure in a row. A second signal ends the children at once.

    Args:
        children: What to run.
        on_ready: Called once, when all children have been ready.
        announce: Gets one line for each event.
        grace_s: Seconds between SIGTERM and SIGKILL at the end.

    Returns:
        0 after a signal; 1 where a child failed to start again and again.
    """
    with watchdog.Watchdog() as guard, _signals() as received:
        return Supervisor(children, guard, received, announce, grace_s).run(on_ready)


class Supervisor:
    """The loop behind `supervise`.

    Args:
        children: What to run.
        guard: Told of each process group, to end it if this process is killed.
        received: Gives the number of stop signals so far, after waiting up to a number of seconds.
        announce: Gets one line for each event.
        grace_s: Seconds between SIGTERM and SIGKILL at the end.
    """

    def __init__(
        self,
        children: Sequence[Child],
        guard: watchdog.Watchdog,
        received: Callable[[float], int],
        announce: Callable[[str], None],
        grace_s: float,
    ) -> None:
        self._running = [_Running(child) for child in children]
        self._guard, self._received = guard, received
        self._announce, self._grace_s = announce, grace_s

    def run(self, on_ready: Callable[[], None]) -> int:
        """Run until a signal comes or a child cannot be started; returns the exit code."""
        told = False
        try:
            while not self._received(TICK_S):
                self._guard.keep_alive()
                for running in self._running:
                    self._look_after(running)
                if hopeless := [r.child.name for r in self._running if r.is_hopeless]:
                    self._announce(f"{hopeless[0]} failed to start {FAILED_STARTS} times; giving up")
                    return 1
                if not told and all(r.ready for r in self._running):
                    told = True
                    on_ready()
            return 0
        finally:
            self._stop_all()

    def _look_after(self, running: _Running) -> None:
        if running.process is None:
            if time.monotonic() >= running.next_start:
                self._start(running)
        elif (code := running.process.poll()) is not None:
            self._restart_later(running, f"ended with exit code {code}")
        elif not running.ready:
            self._see_if_ready(running)
        if running.process is not None and time.monotonic() >= running.next_health:
            self._see_if_healthy(running)

    def _start(self, running: _Running) -> None:
        child = running.child
        running.started, running.ready = now(), False
        running.next_health = time.monotonic() + HEALTH_EVERY_S
        try:
            running.process = subprocess.Popen(
                child.argv, env=child.env, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            self._restart_later(running, f"cannot be started: {error}")
            return
        if child.ready is None:
            running.ready = running.ever_ready = True
        self._guard.watch(running.process.pid)
        self._announce(f"{child.name} started (pid {running.process.pid})")

    def _see_if_ready(self, running: _Running) -> None:
        if running.child.ready is not None and running.child.ready(running.started):
            running.ready = running.ever_ready = True
            self._announce(f"{running.child.name} is ready")

    def _see_if_healthy(self, running: _Running) -> None:
        running.next_health = time.monotonic() + HEALTH_EVERY_S
        complaint = running.child.healthy(running.started) if running.child.healthy else None
        if complaint is not None:
            self._restart_later(running, f"is not healthy: {complaint}")

    def _restart_later(self, running: _Running, why: str) -> None:
        self._kill(running)
        lived_s = (now() - running.started).total_seconds()
        running.failures = 1 if running.ready and lived_s > STABLE_S else running.failures + 1
        pause_s = min(FIRST_BACKOFF_S * 2 ** (running.failures - 1), LONGEST_BACKOFF_S)
        running.next_start = time.monotonic() + pause_s
        self._announce(f"{running.child.name} {why}; starting it again in {pause_s:g} s")

    def _kill(self, running: _Running) -> None:
        """End what is left of a process and of its group."""
        if running.process is not None:
            watchdog.signal_group(running.process.pid, signal.SIGKILL)
            running.process.wait()
            self._guard.forget(running.process.pid)
            running.process = None

    def _stop_all(self) -> None:
        processes = [r.process for r in self._running if r.process is not None]
        for process in processes:
            process.terminate()  # the leader alone: it knows in which order to end its own children
        before, deadline = self._received(0), time.monotonic() + self._grace_s
        while any(p.poll() is None for p in processes) and time.monotonic() < deadline:
            if self._received(TICK_S) > before:
                break
        for running in self._running:
            if running.process is not None:
                killed = running.process.poll() is None
                self._kill(running)
                self._announce(f"{running.child.name} {'killed' if killed else 'stopped'}")


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[float], int]]:
    """Count stop signals, and wake up when one comes or a child ends."""
    count = 0
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1

    def received(wait_s: float) -> int:
        ready, _, _ = select.select([reader], [], [], wait_s)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
        return count

    handlers = {number: signal.signal(number, note) for number in SIGNALS}
    handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield received
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
