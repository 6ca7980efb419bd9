"""The dashboard as a process of its own, and what goes on meanwhile: requests are written and counted.

Invariant: what was started is ended with the block, however that ends.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from bench.dashboard.pattern import Pattern
from bench.dashboard.traffic import InForce, Phases, traffic
from evals.rollups.fill import roll_up
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import Settings

PAUSE_S = 0.1
TOGETHER = 5  # requests in one commit
STOP_S = 20.0
SAYS = "stepdown dashboard on "


@contextmanager
def dashboard(settings: Settings, log: Path, *, user: str | None = None) -> Iterator[str]:
    """Run `stepdown dashboard`; gives its URL.

    Args:
        settings: Its port may be 0.
        log: Where its log goes.
        user: Who it takes to use it; None is the user of the machine.

    Raises:
        RuntimeError: It did not come up.
    """
    file = Path(settings.home) / "settings-bench.json"
    file.write_bytes(msgspec.json.encode(settings))
    command = [sys.executable, "-m", "stepdown", "dashboard", "--settings", str(file)]
    environ = os.environ | ({"LOGNAME": user} if user else {})
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said.startswith(SAYS):
            raise RuntimeError(f"the dashboard did not start: {log.read_text()[-2000:]}")
        yield said.removeprefix(SAYS).strip()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def writing(ledger: Ledger, patterns: list[Pattern], phases: Phases, names: InForce) -> Iterator[list[int]]:
    """Write requests as a proxy does, a few in each commit; gives how many were written, in a list of one."""
    written, seed = [0], random.randrange(1 << 30)

    def write() -> None:
        at = now()
        instant = Phases(at, phases.shadow, phases.route, phases.student, at)
        made = traffic(patterns, instant, names, TOGETHER, seed=seed + written[0])
        ledger.append(chain.from_iterable(made))
        written[0] += TOGETHER

    with _again_and_again(write, PAUSE_S):
        yield written


@contextmanager
def counting(ledger: Ledger, every_s: float) -> Iterator[threading.Event]:
    """Count what is new by the hour, as the workers do; the event is set each time."""
    counted = threading.Event()

    def count() -> None:
        roll_up(ledger)
        counted.set()

    with _again_and_again(count, every_s):
        yield counted


@contextmanager
def _again_and_again(work: Callable[[], object], every_s: float) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every_s):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
