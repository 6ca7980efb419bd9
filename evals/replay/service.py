"""The service under replay: the real process tree, in a folder of its own.

Invariant: what a replay shows went through the same processes, ledger and broker as live traffic; and the
service ends with the replay, however that ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Select, func, select

from stepdown.errors import StepdownError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Mode
from stepdown.registry import Registry
from stepdown.settings import Settings
from stepdown.watchdog import Watchdog

START_S = 60.0
STOP_S = 20.0
PATIENCE_S = 240.0


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """`stepdown up` as a child process, and a view of its ledger.

    Args:
        settings: Resolved settings; their `home` is the service's own folder.
        task: The task that the replay runs in.
    """

    def __init__(self, settings: Settings, task: str) -> None:
        self.settings, self.task = settings, task
        self.url = f"http://{settings.proxy.host}:{settings.proxy.port}"
        self.home = Path(settings.home)
        self.log = self.home / "service.log"

    def __enter__(self) -> Service:
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / "replay.json"
        file.write_bytes(msgspec.json.encode(self.settings))
        command = [sys.executable, "-m", "stepdown", "up", "--settings", str(file)]
        self._guard = Watchdog()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._guard.watch(self._process.pid)
        self.ledger = Ledger(self.settings.database_url)
        self.registry = Registry(self.ledger)
        try:
            self._wait_until("the proxy answers", self._is_ready, START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._guard.forget(self._process.pid)
        self._guard.__exit__()
        self.ledger.close()

    def wait_for_mode(self, mode: Mode) -> None:
        """Return when the task is in a mode and the proxy has had time to see it."""
        self._wait_until(f"task {self.task!r} is in mode {mode}", lambda: self._mode() == mode)
        time.sleep(2 * self.settings.proxy.reload_s)

    def wait_for_labels(self, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Return the number of labelled calls when every whole call has a label."""

        def done() -> bool:
            on_progress(self.labelled())
            return self._unlabelled() == 0

        self._wait_until("every call has a label", done)
        return self.labelled()

    def labelled(self) -> int:
        """Calls that have a label."""
        return self._count(select(func.count(schema.labels.c.subject.distinct())))

    def wait_for_calls(self) -> None:
        """Return when no call has been added for a while: shadow calls end after their answers."""
        seen = [-1, -2]

        def settled() -> bool:
            seen.append(self._count(select(func.count()).select_from(schema.calls)))
            return seen[-1] == seen[-2] == seen[-3]

        self._wait_until("the shadow calls have ended", settled)

    def wait_for_router(self) -> Artifact:
        """Return the task's first router, when it was fitted and, where its bound allows, is in force."""
        self._wait_until("a router is fitted", lambda: self.registry.newest("router", self.task) is not None)
        time.sleep(2 * self.settings.worker.fit_every_s)
        if self.is_routing():
            self.wait_for_mode(Mode.ROUTE)
        kept = self.registry.newest("router", self.task)
        assert kept is not None
        return kept

    def is_routing(self) -> bool:
        """Whether the task is in mode route."""
        return self._mode() == Mode.ROUTE

    def _unlabelled(self) -> int:
        calls, labels = schema.calls, schema.labels
        joined = calls.outerjoin(labels, labels.c.subject == calls.c.id)
        whole = (calls.c.status == 200) & calls.c.complete & labels.c.subject.is_(None)
        return self._count(select(func.count()).select_from(joined).where(whole))

    def _count(self, statement: Select[Any]) -> int:
        return int(self.ledger.rows(statement)[0][0])

    def _mode(self) -> Mode:
        current = self.registry.current(self.task)
        return current.mode if current else Mode.STRONG

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _wait_until(self, what: str, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            if self._process.poll() is not None:
                raise StepdownError(
                    f"the service ended with code {self._process.returncode}:\n{self._tail()}"
                )
            if time.monotonic() > deadline:
                raise StepdownError(f"waited {patience_s:.0f} s in vain until {what}:\n{self._tail()}")
            time.sleep(0.2)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
