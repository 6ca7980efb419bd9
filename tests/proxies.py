"""The real proxy as a process, with settings of the test's own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from stepdown.settings import Settings
from tests.processes import PATIENCE_S, Process, settings_file, wait_until

LISTENING = "stepdown proxy listening on "
HELLO = [{"role": "user", "content": "hello"}]


class RunningProxy:
    """A proxy that listens."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = self._listening().split()[-1]

    def _listening(self) -> str:
        lines: list[str] = []

        def found() -> bool:
            lines[:] = [line for line in self.process.log.read_text().splitlines() if LISTENING in line]
            return bool(lines) or self.process.popen.poll() is not None

        wait_until("the proxy listens", found)
        assert lines, self.process.log.read_text()
        return lines[0]

    def chat(self, headers: Mapping[str, str] | None = None, **fields: Any) -> tuple[int, str]:
        """A chat request; its status and the id that it got."""
        body = json.dumps({"model": "stepdown", "messages": HELLO, **fields}).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        request = Request(f"{self.url}/v1/chat/completions", body, sent)
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:
                answer.read()
                return answer.status, answer.headers["x-stepdown-request-id"]
        except HTTPError as refused:
            refused.read()
            return refused.code, refused.headers["x-stepdown-request-id"]

    def metrics(self) -> str:
        """What `/metrics` says."""
        with urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as answer:
            text: str = answer.read().decode()
            return text

    def stop(self) -> int:
        """Tell it to stop, as a supervisor does; its exit status."""
        self.process.popen.send_signal(signal.SIGTERM)
        return self.process.popen.wait(PATIENCE_S)


@contextmanager
def proxy_process(settings: Settings, env: dict[str, str] | None = None) -> Iterator[RunningProxy]:
    """The proxy of these settings for the length of a block; their `home` must exist."""
    argv = [sys.executable, "-m", "stepdown", "proxy", "--settings", str(settings_file(settings))]
    with Process(argv, Path(settings.home) / "proxy.log", env) as process:
        yield RunningProxy(process)
