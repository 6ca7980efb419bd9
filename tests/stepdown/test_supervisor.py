"""The process tree: what starts again, what ends together, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from stepdown import supervisor
from stepdown.supervisor import Child, supervise
from tests.processes import Process, is_running, wait_until

# A family of the test's own: each child writes its pid, has a child itself, and waits.
TREE = """
import sys
from pathlib import Path
from stepdown.supervisor import Child, supervise

folder = Path(sys.argv[1])
child = '''
import os, subprocess, sys, time
name, stubborn = sys.argv[1:3]
if stubborn == "stubborn":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(name, "a") as pids:
    print(os.getpid(), inner.pid, file=pids, flush=True)
time.sleep(600)
'''
children = [
    Child(name, [sys.executable, "-c", child, str(folder / name), kind],
          ready=lambda _, f=folder / name: f.exists())
    for name, kind in zip(("one", "two"), sys.argv[2:], strict=True)
]
sys.exit(supervise(children, on_ready=lambda: (folder / "ready").touch(), grace_s=2))
"""


class Tree:
    """A supervisor with two children in a process of its own."""

    def __init__(self, folder: Path, *kinds: str) -> None:
        self.folder = folder
        self.process = Process(
            [sys.executable, "-c", TREE, str(folder), *(kinds or ("meek", "meek"))], folder / "log"
        )

    def __enter__(self) -> Tree:
        self.process.__enter__()
        wait_until("the tree is ready", (self.folder / "ready").exists)
        wait_until("all pids are there", lambda: len(self.pids()) == 4)
        return self

    def __exit__(self, *error: object) -> None:
        for pid in self.pids():
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.__exit__(*error)  # type: ignore[arg-type]

    def pids(self) -> list[int]:
        """The pids of all children and grandchildren ever started."""
        return [
            int(pid)
            for name in ("one", "two")
            if (self.folder / name).exists()
            for pid in (self.folder / name).read_text().split()
        ]

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_all_and_the_exit_code_is_0(tmp_path: Path, number: signal.Signals) -> None:
    with Tree(tmp_path) as tree:
        os.kill(tree.process.pid, number)
        assert tree.process.popen.wait(30) == 0
        assert not any(map(is_running, tree.pids()))
    assert tree.log().count("stopped") == 2


def test_a_child_that_does_not_listen_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    with Tree(tmp_path, "stubborn", "meek") as tree:
        os.kill(tree.process.pid, signal.SIGINT)
        assert tree.process.popen.wait(30) == 0
        assert not any(map(is_running, tree.pids()))
    assert "one killed" in tree.log()
    assert "two stopped" in tree.log()


def test_children_do_not_get_the_terminals_signals(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        groups = {os.getpgid(pid) for pid in tree.pids()}
        assert os.getpgid(tree.process.pid) not in groups


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with Tree(tmp_path, "stubborn", "meek") as tree:
        os.kill(tree.process.pid, signal.SIGKILL)
        wait_until("children and grandchildren are gone", lambda: not any(map(is_running, tree.pids())))
        assert not [pid for pid in tree.pids() if is_running(pid)]


def test_a_killed_watchdog_is_replaced(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        (first,) = watchdogs_of(tree.process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until("there is another", lambda: watchdogs_of(tree.process.pid) not in ([], [first]))
        os.kill(tree.process.pid, signal.SIGKILL)
        wait_until("children and grandchildren are gone", lambda: not any(map(is_running, tree.pids())))
        assert not [pid for pid in tree.pids() if is_running(pid)]


def watchdogs_of(parent: int) -> list[int]:
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if is_running(int(pid)) and b"watchdog.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(int(pid))
    return found


def test_a_child_that_dies_is_started_again_and_its_own_children_end(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        one, inner, *_ = tree.pids()
        os.kill(one, signal.SIGKILL)
        wait_until("one runs again", lambda: len(tree.pids()) == 6)
        assert not is_running(inner)
        wait_until("it is said", lambda: "one ended with exit code -9; starting it again" in tree.log())


def test_a_child_that_is_not_healthy_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HEALTH_EVERY_S", 0.1)
    starts: list[datetime] = []

    def healthy(started: datetime) -> str | None:
        if started not in starts:
            starts.append(started)
        if len(starts) > 1:
            os.kill(os.getpid(), signal.SIGTERM)
            return None
        return "last beat 99 s ago"

    lines: list[str] = []
    child = Child("silent", [sys.executable, "-c", "import time; time.sleep(600)"], healthy=healthy)
    assert supervise([child], announce=lines.append) == 0
    assert "silent is not healthy: last beat 99 s ago; starting it again in 0.5 s" in lines


def test_a_child_that_never_starts_ends_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    lines: list[str] = []
    broken = Child("broken", [sys.executable, "-c", "raise SystemExit(2)"], ready=lambda _: False)
    other = Child("other", [sys.executable, "-c", "import time; time.sleep(600)"])
    assert supervise([broken, other], announce=lines.append) == 1
    assert "broken failed to start 3 times; giving up" in lines
    assert "other stopped" in lines


def test_a_missing_program_is_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    lines: list[str] = []
    assert supervise([Child("ghost", ["/no/such/program"])], announce=lines.append) == 1
    assert any("/no/such/program" in line for line in lines)


def test_pauses_grow_while_a_child_keeps_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    lines: list[str] = []
    announce: Callable[[str], None] = lines.append

    def listen(line: str) -> None:
        announce(line)
        if "0.04 s" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    assert supervise([Child("brief", [sys.executable, "-c", ""])], announce=listen) == 0
    pauses = [line.rpartition(" in ")[2] for line in lines if "starting it again" in line]
    assert pauses[:3] == ["0.01 s", "0.02 s", "0.04 s"]
