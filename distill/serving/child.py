"""A server of one checkpoint as a child process: started, watched, stopped.

Invariant: the child dies with this process, however that ends. Knows nothing of what it should serve.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from distill.serving.vllm import ServerAway, VllmServer
from stepdown.errors import ServingError
from stepdown.watchdog import Watchdog, signal_group

START_S = 1800.0
STOP_S = 30.0
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a server is started with: a model's name, and its folder or name on a hub."""

    name: str
    path: str


class ServerChild:
    """The child.

    Args:
        command: Its command line, without the model and the address.
        extra: More of its options.
        listen: Host and port that it listens on.
        server: A client of it there.
        guard: Ends it where this process is killed.
        start_s: Longest wait until it answers.
    """

    def __init__(
        self,
        command: Sequence[str],
        extra: Sequence[str],
        listen: tuple[str, int],
        server: VllmServer,
        guard: Watchdog,
        start_s: float = START_S,
    ) -> None:
        self._command, self._extra = tuple(command), tuple(extra)
        self._host, self._port = listen
        self._server = server
        self._guard = guard
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What it serves, or None where it does not run."""
        alive = self._process is not None and self._process.poll() is None
        return self._checkpoint if alive else None

    def start(self, checkpoint: Checkpoint) -> None:
        """Start it; return when it answers as the model.

        Raises:
            ServingError: It ended, or did not answer; it does not run then.
        """
        self.stop()
        argv = [
            *self._command,
            *("--model", checkpoint.path, "--served-model-name", checkpoint.name),
            *("--host", self._host, "--port", str(self._port)),
            *self._extra,
        ]
        try:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            raise ServingError(f"the server cannot be started with {argv[0]!r}: {error}") from error
        self._guard.watch(self._process.pid)
        self._checkpoint = checkpoint
        try:
            self._await(self._process, checkpoint)
        except BaseException:
            self.stop()
            raise

    def _await(self, process: subprocess.Popen[bytes], checkpoint: Checkpoint) -> None:
        deadline = time.monotonic() + self._start_s
        while True:
            if process.poll() is not None:
                code = process.returncode
                raise ServingError(f"the server ended with exit code {code}, started on {checkpoint.path!r}")
            try:
                self._server.check_health()
                break
            except ServerAway:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(TICK_S)
        self._server.probe(checkpoint.name)

    def stop(self) -> None:
        """End it, with what it started; returns when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
        self._guard.forget(process.pid)
