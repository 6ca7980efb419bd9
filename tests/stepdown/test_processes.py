"""What `stepdown up` runs, and how it sees that each part is well."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from stepdown import heartbeat
from stepdown.heartbeat import Pulse, beating, worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.processes import proxy_ready, up_children
from stepdown.settings import ProxySettings, Settings, StudentSettings, TaskSettings
from stepdown.supervisor import Child, supervise
from tests.processes import settings_in, wait_until, worker_command


def test_the_children_of_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    children = up_children("settings.json", settings)
    assert [child.name for child in children] == ["proxy", "worker", "fitter", "evaluator", "dashboard"]
    commands = [" ".join(child.argv).partition("-m ")[2] for child in children]
    assert commands == [
        "stepdown proxy --settings settings.json",
        "stepdown worker --settings settings.json --queue labels --beat",
        "stepdown worker --settings settings.json --queue fits",
        "stepdown worker --settings settings.json --queue evals",
        "stepdown dashboard --settings settings.json",
    ]


def test_where_students_are_distilled_two_more_workers_run(tmp_path: Path) -> None:
    task = TaskSettings(small="small", student=StudentSettings(base="base"))
    settings = msgspec.structs.replace(settings_in(tmp_path), tasks={"default": task})
    more = up_children("settings.json", settings)[4:-1]
    assert {child.name: child.argv[-1] for child in more} == {"keeper": "students", "distiller": "nights"}


def test_who_works_long_beats_all_the_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    with beating(url, "worker:nights"):
        wait_until("there is a beat", lambda: ledger.last_beat("worker:nights") is not None)
    last = ledger.last_beat("worker:nights")
    time.sleep(0.05)
    assert ledger.last_beat("worker:nights") == last
    ledger.close()


def test_a_pulse_is_judged_from_the_start_of_its_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    pulse = Pulse(url, "worker:labels", 60)
    long_ago = now() - timedelta(hours=1)
    assert pulse.complaint(now()) is None
    assert "never beat" in (pulse.complaint(long_ago) or "")
    ledger = Ledger(url)
    before = now()
    ledger.beat("worker:labels")
    assert pulse.complaint(long_ago) is None
    assert pulse.beaten_since(before)
    assert not pulse.beaten_since(now())
    hasty = Pulse(url, "worker:labels", 0)
    assert "the limit is 0 s" in (hasty.complaint(long_ago) or "")
    ledger.close()


def test_a_worker_that_lives_and_does_nothing_is_started_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    Ledger(settings.database_url).close()
    pulse = Pulse(settings.database_url, worker_beat("labels"), 7)
    lines: list[str] = []
    started: list[int] = []

    def announce(line: str) -> None:
        lines.append(line)
        if "(pid " in line:
            started.append(int(line.rpartition("pid ")[2].rstrip(")")))
        if line == "worker is ready":
            if len(started) == 1:
                os.killpg(started[0], signal.SIGSTOP)  # alive, and doing nothing
            else:
                os.kill(os.getpid(), signal.SIGTERM)

    argv = worker_command(settings, "--queue", "labels", "--beat")
    worker = Child("worker", argv, ready=pulse.beaten_since, healthy=pulse.complaint)
    assert supervise([worker], announce=announce) == 0
    assert len(started) >= 2  # on a busy machine it may take more than one start
    assert any("worker is not healthy: worker:labels last beat" in line for line in lines)


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_proxy_is_ready_when_it_says_so() -> None:
    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.handle_request, daemon=True).start()
    settings = Settings(proxy=ProxySettings(host="0.0.0.0", port=server.server_port))
    ready = proxy_ready(settings)
    assert ready is not None
    assert ready(now())
    server.server_close()
    assert not ready(now())
    assert proxy_ready(msgspec.structs.replace(settings, proxy=ProxySettings(port=0))) is None
