"""A real vLLM in a child process, with adapters that are loaded while it runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stepdown.errors import ServingError
from stepdown.watchdog import Watchdog

PATIENCE_S = 300.0
LAST_LINES = 20
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # else it leaves one core idle, of two
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(python: Path, base: Path, port: int, *, rank: int, max_tokens: int) -> list[str]:
    """The command line of the server; the model is called `small`."""
    return [
        str(python),
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(base), "--served-model-name", "small"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "bfloat16", "--enforce-eager", "--generation-config", "vllm"),
        *("--max-model-len", str(max_tokens), "--enable-lora"),
        *("--max-lora-rank", str(max(rank, 8)), "--max-loras", "2", "--max-cpu-loras", "4"),
    ]


@contextmanager
def vllm(
    python: Path, base: Path, log: Path, *, port: int, rank: int = 16, max_tokens: int = 1024
) -> Iterator[str]:
    """Serve a checkpoint; gives the base URL of its API, and ends the server with the block.

    Raises:
        ServingError: It ended, or did not answer in time; with the last lines of its log.
    """
    argv = command(python, base, port, rank=rank, max_tokens=max_tokens)
    with log.open("ab") as output, Watchdog() as guard:
        server = subprocess.Popen(
            argv, stdout=output, stderr=output, env=_environment(), start_new_session=True
        )
        guard.watch(server.pid)
        try:
            _wait(server, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _end(server)
            guard.forget(server.pid)


def _environment() -> Mapping[str, str]:
    return {**os.environ, **ENVIRONMENT}


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServingError(f"vLLM ended with {server.returncode}:\n{_last_lines(log)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise ServingError(f"vLLM did not answer within {PATIENCE_S:g} s:\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server with all that it started: they are one process group."""
    for number, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        if server.poll() is None:
            os.killpg(server.pid, number)
        try:
            server.wait(patience_s)
            return
        except subprocess.TimeoutExpired:
            continue
