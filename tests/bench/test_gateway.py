"""The gateway benchmark runs, and what its fake upstream and its load generator say can be trusted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.gateway.load import requests
from bench.gateway.upstream import EVENTS, PLAIN, STREAMED
from router.wire import events_of, parse_chat, read_answer

ROOT = Path(__file__).parents[2]


def test_the_fake_upstream_speaks_as_a_model_does() -> None:
    plain = read_answer(PLAIN.partition(b"\r\n\r\n")[2])
    assert plain.complete
    assert plain.completion_tokens == 180
    streamed = read_answer(STREAMED.partition(b"\r\n\r\n")[2])
    assert (streamed.complete, streamed.finish_reason, streamed.completion_tokens) == (True, "stop", 48)
    assert len(events_of(STREAMED)) == EVENTS + 1


def test_the_requests_are_distinct_chat_requests() -> None:
    for stream in (False, True):
        bodies = [request.partition(b"\r\n\r\n")[2] for request in requests(stream)]
        assert len(set(bodies)) == len(bodies)
        assert all(parse_chat(body).stream is stream for body in bodies)


def test_a_short_run_measures_every_case_without_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "gateway.json"
    command = [
        sys.executable,
        "-m",
        "bench.gateway",
        "--seconds",
        "0.2",
        "--rounds",
        "1",
        "--json",
        str(file),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert "proxy/relay" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100
    results = json.loads(file.read_text())["results"]
    assert [(r["stream"], r["concurrency"]) for r in results] == [
        (False, 1),
        (False, 32),
        (True, 1),
        (True, 32),
    ]
    for result in results:
        for target in ("direct", "relay", "proxy"):
            assert result[target]["requests_per_s"] > 0
            assert result[target]["failures"] == 0
