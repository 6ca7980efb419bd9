"""The agent beside a server of whole checkpoints, with real child processes and a fake vLLM in them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.serving import agent as agents
from distill.serving import serve
from distill.serving.agent import Agent
from distill.serving.child import ServerChild
from distill.serving.servers import servers_of
from distill.serving.vllm import VllmServer
from stepdown.errors import ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import NightSettings, Settings
from stepdown.students import Store, served_name
from stepdown.watchdog import Watchdog
from tests.distill.serving.students import TASK, a_night, a_student, promote, settings_of
from tests.processes import Process, free_port, is_running, wait_until

FAKE = [sys.executable, "-m", "tests.fake_vllm"]
ROOT = Path(__file__).parents[3]


class Server:
    """One server of the model with its agent, in this process."""

    def __init__(self, ledger: Ledger, settings: Settings, number: int, guard: Watchdog) -> None:
        self.url = settings.models["small"].servers[number]
        port = int(self.url.rpartition(":")[2].removesuffix("/v1"))
        self.client = VllmServer(self.url)
        self.said: list[str] = []
        self.child = ServerChild(FAKE, (), ("127.0.0.1", port), self.client, guard, start_s=20)
        store = Store(settings.students_folder)
        others = servers_of(settings, {}, "small")
        self.agent = Agent(
            ledger, settings, "small", others, self.url, self.child, self.client, store, self.said.append
        )

    @property
    def serves(self) -> str | None:
        """The name of what it serves."""
        return self.child.checkpoint.name if self.child.checkpoint else None


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(ROOT)
    (tmp_path / "base").mkdir()
    return settings_of(tmp_path, [f"http://127.0.0.1:{free_port()}/v1"], serving="checkpoints")


def two_servers(settings: Settings) -> Settings:
    small = msgspec.structs.replace(
        settings.models["small"], replicas=(f"http://127.0.0.1:{free_port()}/v1",)
    )
    return msgspec.structs.replace(settings, models={**settings.models, "small": small})


@pytest.fixture
def make(ledger: Ledger) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []
    with Watchdog() as guard:

        def make(settings: Settings, number: int = 0) -> Server:
            made.append(server := Server(ledger, settings, number, guard))
            return server

        yield make
        for server in made:
            server.child.stop()


def noted(ledger: Ledger, server: Server) -> Replica:
    (found,) = (seen for seen in Replicas(ledger).all() if seen.url == server.url)
    return found


def answer_of(url: str, model: str) -> Any:
    body = json.dumps({"model": model, "messages": []}).encode()
    asked = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=5) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def test_a_server_has_the_base_and_then_the_student_that_went_live_and_back(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    server = make(settings)
    server.agent.look()
    assert server.serves == "small"
    assert (noted(ledger, server).state, dict(noted(ledger, server).adapters)) == (State.SERVING, {})
    student = a_student(ledger, settings, "one", variant="merged")
    promote(ledger, student=student.id)
    server.agent.look()
    name = served_name(student.id)
    assert answer_of(server.url, name) == "I am one."
    assert list(noted(ledger, server).adapters) == [name]
    promote(ledger)
    server.agent.look()
    assert server.serves == "small"


def test_one_server_cannot_try_a_candidate_and_says_so(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    server, candidate = make(settings), a_student(ledger, settings, "one", variant="int8")
    promote(ledger, candidate=candidate.id, candidate_share=0.1)
    server.agent.look()
    assert server.serves == "small"
    assert served_name(candidate.id) in noted(ledger, server).note
    assert "models.small.replicas" in noted(ledger, server).note


def test_with_two_servers_one_tries_the_candidate_and_never_both(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    settings = two_servers(settings)
    first, second = make(settings, 0), make(settings, 1)
    old, new = (a_student(ledger, settings, name, variant="merged") for name in ("old", "new"))
    promote(ledger, student=old.id)
    first.agent.look()
    second.agent.look()
    assert first.serves == second.serves == served_name(old.id)
    promote(ledger, student=old.id, candidate=new.id, candidate_share=0.1)
    for _ in range(2):
        first.agent.look()
        second.agent.look()
    assert {first.serves, second.serves} == {served_name(old.id), served_name(new.id)}
    promote(ledger, student=new.id)
    first.agent.look()
    second.agent.look()
    assert first.serves == second.serves == served_name(new.id)


def test_the_last_server_with_what_traffic_points_at_is_not_swapped(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    settings = two_servers(settings)
    first, second = make(settings, 0), make(settings, 1)
    old, new = (a_student(ledger, settings, name, variant="merged") for name in ("old", "new"))
    promote(ledger, student=old.id)
    second.agent.look()
    Replicas(ledger).note(
        Replica(first.url, "small", now(), State.SERVING, {served_name(old.id): "/where/it/was"})
    )
    promote(ledger, student=old.id, candidate=new.id, candidate_share=0.1)
    second.agent.look()
    assert second.serves == served_name(old.id), "it believed the ledger of a server that is away"
    assert "no other server has" in noted(ledger, second).note


def test_a_checkpoint_that_does_not_start_leaves_the_old_one_in_place(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    server = make(settings)
    old, new = (a_student(ledger, settings, name, variant="merged") for name in ("old", "new"))
    promote(ledger, student=old.id)
    server.agent.look()
    (settings.students_folder / "new" / "broken").touch()
    promote(ledger, student=new.id)
    server.agent.look()
    assert answer_of(server.url, served_name(old.id)) == "I am old."
    note = noted(ledger, server).note
    assert "ended with exit code 1" in note
    assert "back to" in note
    started = len(server.said)
    server.agent.look()
    assert len(server.said) == started, "it is tried again at once"
    assert server.serves == served_name(old.id)


@pytest.mark.parametrize(
    ("variant", "spoilt", "words"),
    [("adapter", False, "export one of merged"), ("merged", True, "has another hash")],
)
def test_what_cannot_be_started_is_not_and_the_old_one_goes_on(
    ledger: Ledger,
    settings: Settings,
    make: Callable[..., Server],
    variant: str,
    spoilt: bool,
    words: str,
) -> None:
    server = make(settings)
    server.agent.look()
    process = server.child._process
    student = a_student(ledger, settings, "one", variant=variant)
    if spoilt:
        (settings.students_folder / "one" / "model.safetensors").write_text("other")
    promote(ledger, student=student.id)
    server.agent.look()
    assert server.child._process is process, "it was restarted"
    assert words in noted(ledger, server).note


def test_a_server_that_dies_is_started_again(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    server = make(settings)
    server.agent.look()
    assert server.child._process is not None
    os.kill(server.child._process.pid, signal.SIGKILL)
    wait_until("it is dead", lambda: server.child.checkpoint is None)
    server.agent.look()
    assert server.serves == "small"


def test_what_is_under_way_is_waited_for(
    ledger: Ledger, settings: Settings, make: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(settings)
    server.agent.look()
    student = a_student(ledger, settings, "one", variant="merged")
    promote(ledger, student=student.id)
    counts = iter([2, 1, 0])
    seen: list[State] = []

    def busy(_: VllmServer) -> int:
        seen.append(noted(ledger, server).state)
        assert server.serves == "small"
        return next(counts)

    monkeypatch.setattr(VllmServer, "busy", busy)
    monkeypatch.setattr(agents, "TICK_S", 0.01)
    server.agent.look()
    assert seen == [State.AWAY] * 3, "the proxies are not told"
    assert server.serves == served_name(student.id)


def test_a_student_of_tonight_is_served_when_somebody_asks_for_it(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    settings = two_servers(settings)
    first, second = make(settings, 0), make(settings, 1)
    a_night(ledger, now())
    int8, _ = (a_student(ledger, settings, name, variant=name) for name in ("int8", "merged"))
    for server in (first, second):
        server.agent.look()
    assert first.serves == second.serves == "small", "nobody asked yet"
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            for server in (first, second):
                server.agent.look()
            stop.wait(0.05)

    looking = threading.Thread(target=run)
    looking.start()
    try:
        serve(ledger, settings, {}, TASK, int8, patience_s=20)
    finally:
        stop.set()
        looking.join()
    assert {first.serves, second.serves} == {"small", served_name(int8.id)}


def test_serve_says_where_no_agent_starts_it(ledger: Ledger, settings: Settings) -> None:
    student = a_student(ledger, settings, "one", variant="merged")
    with pytest.raises(ServingError, match="does `stepdown serve` run beside it"):
        serve(ledger, settings, {}, TASK, student, patience_s=0.0)


def test_the_command_serves_and_takes_its_server_with_it_when_it_is_killed(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(settings, night=NightSettings(reconcile_every_s=0.1))
    file, log = tmp_path / "settings.json", tmp_path / "serve.log"
    file.write_bytes(msgspec.json.encode(settings))
    argv = [sys.executable, "-m", "stepdown", "serve", "small", "--settings", str(file)]
    argv += ["--command", " ".join(FAKE), "--", "--start-delay-s", "0.1"]
    server = VllmServer(settings.models["small"].servers[0])
    student = a_student(ledger, settings, "one", variant="merged")
    with Process(argv, log, {"PYTHONPATH": str(ROOT)}) as process:
        wait_until("it serves", lambda: "serves 'small'" in log.read_text())
        promote(ledger, student=student.id)
        wait_until("it serves the student", lambda: served_name(student.id) in log.read_text())
        assert [card.name for card in server.cards()] == [served_name(student.id)]
        (child,) = children_of(process.pid, "tests.fake_vllm")
        os.kill(process.pid, signal.SIGKILL)
        wait_until("its server is gone", lambda: not is_running(child))


def test_the_command_stops_its_server_when_it_is_told_to_stop(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    file, log = tmp_path / "settings.json", tmp_path / "serve.log"
    file.write_bytes(msgspec.json.encode(settings))
    argv = [sys.executable, "-m", "stepdown", "serve", "small", "--settings", str(file)]
    with Process([*argv, "--command", " ".join(FAKE)], log, {"PYTHONPATH": str(ROOT)}) as process:
        wait_until("it serves", lambda: "serves 'small'" in log.read_text())
        (child,) = children_of(process.pid, "tests.fake_vllm")
        process.popen.terminate()
        assert process.popen.wait(20) == 0
        assert not is_running(child)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replica", "1"], "--replica 1 is not there"),
        (["--listen", "nowhere"], "names no HOST:PORT"),
    ],
)
def test_the_command_refuses_what_is_not_there(
    settings: Settings, tmp_path: Path, options: list[str], words: str
) -> None:
    file, log = tmp_path / "settings.json", tmp_path / "serve.log"
    file.write_bytes(msgspec.json.encode(settings))
    argv = [sys.executable, "-m", "stepdown", "serve", "small", "--settings", str(file), *options]
    with Process(argv, log) as process:
        assert process.popen.wait(30) == 2
    assert words in log.read_text()


def children_of(parent: int, name: str) -> list[int]:
    """The processes that another started, by what is in their command line."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if int(fields[1]) == parent and name in command:
                found.append(int(stat.parent.name))
    return found


def test_a_server_whose_trainer_is_gone_is_woken_before_anything_is_sent_to_it(
    ledger: Ledger, settings: Settings, make: Callable[..., Server]
) -> None:
    server = make(settings)
    server.agent.look()
    server.client.sleep()
    server.agent.look()
    assert server.client.is_asleep() is False
    assert noted(ledger, server).state is State.SERVING


def test_a_server_that_does_not_wake_is_sent_nothing(
    ledger: Ledger, settings: Settings, make: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(settings)
    server.agent.look()
    server.client.sleep()

    def fails(_: VllmServer) -> None:
        raise ServingError("it does not wake")

    monkeypatch.setattr(VllmServer, "wake", fails)
    server.agent.look()
    assert (noted(ledger, server).state, noted(ledger, server).note) == (State.ASLEEP, "it does not wake")
