"""A server says where it listens, ends well when it is told to stop, and says why it cannot begin."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30
SERVER = """
import asyncio, sys
from stepdown.errors import StepdownError
from stepdown.serving import run_app

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": f"lifespan.startup.{sys.argv[3]}"})
        return
    print("asked", flush=True)
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"whole"})

try:
    run_app(app, sys.argv[1], int(sys.argv[2]), says="it serves on", drain_s=5)
except StepdownError as error:
    sys.exit(str(error))
"""


@contextmanager
def server(
    host: str = "127.0.0.1", port: int = 0, begins: str = "complete"
) -> Iterator[subprocess.Popen[str]]:
    """A process that serves."""
    command = [sys.executable, "-c", SERVER, host, str(port), begins]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_it_says_where_it_listens(host: str, shown: str) -> None:
    with server(host) as process:
        said, _, url = line_of(process).rpartition(" ")
        assert (said, url.rpartition(":")[0]) == ("it serves on", f"http://{shown}")
        with urlopen(url, timeout=PATIENCE_S) as answer:
            assert answer.read() == b"whole"


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_what_it_has_begun(told: signal.Signals) -> None:
    with server() as process:
        host, _, port = line_of(process).split()[-1].removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert line_of(process) == "asked"
            process.send_signal(told)
            received = b"".join(iter(lambda: client.recv(4096), b""))
        assert b"\r\nwhole\r\n" in received
        assert process.wait(PATIENCE_S) == 0


def test_an_application_that_does_not_begin_is_an_error() -> None:
    with server(begins="failed") as process:
        said, complained = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said == ""
    assert "nothing could be served on '127.0.0.1', port 0" in complained


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, server(port=taken.getsockname()[1]) as process:
        said, complained = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said == ""
    assert "address already in use" in complained
    assert "nothing could be served" in complained
