"""A real Prometheus that scrapes a proxy every second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.processes import Process, free_port, wait_until


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Any]:
        """What an expression is now; an expression that Prometheus refuses fails the test."""
        try:
            with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}") as answer:
                answered = json.load(answer)
        except HTTPError as refused:
            pytest.fail(f"{expression}: {refused.read().decode()}")
        assert answered["status"] == "success", answered
        found: list[Any] = answered["data"]["result"]
        return found

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urlopen(f"{self.url}/-/ready") as answer:
                return bool(answer.status == 200)
        except URLError:
            return False


def prometheus_binary() -> str:
    """Where the program is; without it a test is skipped, and with CI set that is a failure."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("needs Prometheus: apt-get install --no-install-recommends prometheus")
    return found


@contextmanager
def scraping(config: Path, target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with a configuration of ours, whose proxy is the one at `target` (HOST:PORT)."""
    settings = yaml.safe_load(config.read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = settings["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["proxy:4000"]}]
    job["static_configs"] = [{"targets": [target]}]
    changed, port = folder / "prometheus.yaml", free_port()
    changed.write_text(yaml.safe_dump(settings))
    argv = [prometheus_binary(), f"--config.file={changed}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    argv.append(f"--web.listen-address=127.0.0.1:{port}")
    with Process(argv, folder / "prometheus.log"):
        running = Prometheus(f"http://127.0.0.1:{port}")
        wait_until("Prometheus is ready", running.is_ready)
        yield running
