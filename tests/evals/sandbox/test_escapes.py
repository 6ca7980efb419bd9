"""Programs that try to break out, run for real: as this user, and under root as an ordinary one too."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evals.sandbox import INTERPRETER, Limits, Result, run, why_not
from tests.evals.sandbox.programs import BOMBS, PROGRAMS

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"NO SANDBOX HERE, NOTHING TESTED: {why_not()}")

ROOT = Path(__file__).parents[3]
SECRET = "sk-the-secret-of-the-parent"
SYSTEM_PYTHON = Path("/usr/bin/python3")
NOBODY = 65534
PATIENT = {"wall_s": 60.0, "cpu_s": 5}
QUICK = {"wall_s": 3.0, "cpu_s": 1, "memory_bytes": 256 << 20}
Runner = Callable[[str, dict[str, Any]], Result]


def as_this_user(source: str, limits: dict[str, Any]) -> Result:
    return run([INTERPRETER, "-P", "-S", "-c", source], limits=Limits(**limits))


def as_ordinary_user(source: str, limits: dict[str, Any]) -> Result:
    """By way of a Python of the system, since this one may be where only root can read it."""
    order = json.dumps({"repository": str(ROOT), "source": source, "limits": limits})
    script = Path(__file__).with_name("as_nobody.py").read_text()
    environment = {"PATH": os.environ["PATH"], "SECRET": SECRET, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", script], input=order, capture_output=True, text=True, user=NOBODY, group=NOBODY,
        extra_groups=[], env=environment, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, stdout, stderr, why = json.loads(done.stdout)
    return Result(status, stdout.encode(), stderr.encode(), why)


def runners() -> list[Runner]:
    """As root, by way of a Python that an ordinary user can read, too."""
    if os.geteuid() != 0 or not SYSTEM_PYTHON.exists():
        return [as_this_user]
    asked = [str(SYSTEM_PYTHON), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return [as_this_user, as_ordinary_user] if subprocess.run(asked).returncode == 0 else [as_this_user]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The host's facts, for programs to try what they can with."""
    folder = tmp_path_factory.mktemp("outside")
    file = folder / "outside"
    file.write_text("the host's own")
    file.chmod(0o666)
    abstract = f"\0stepdown-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(0)
        named.bind(abstract)
        named.listen()
        unix.bind(str(folder / "socket"))
        unix.listen()
        yield {
            "file": str(file),
            "repository": str(ROOT),
            "port": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": abstract,
            "unix": str(folder / "socket"),
            "pid": os.getpid(),
            "secret": SECRET,
        }
        with suppress(BlockingIOError):
            while udp.recv(9) == b"in vain":
                pass
            pytest.fail("a datagram came out of the sandbox")
    assert file.read_text() == "the host's own"


@pytest.mark.parametrize("runner", runners())
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_kept_in(
    name: str, runner: Runner, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    os.set_inheritable(tmp := os.open(facts["file"], os.O_RDWR), True)
    try:
        result = runner(f"facts = {facts!r}\n{PROGRAMS[name]}", PATIENT)
    finally:
        os.close(tmp)
    assert result.stdout.decode().split() == ["HELD"], (result.stdout, result.stderr)
    assert result.why is None


@pytest.mark.parametrize("runner", runners())
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_put_out_and_leaves_nothing(name: str, runner: Runner) -> None:
    mark = f"bomb-{os.getpid()}-{abs(hash(name))}"
    result = runner(f"{mark!r}\n{BOMBS[name]}", QUICK)
    assert result.exit != 0
    assert len(result.stdout) + len(result.stderr) < 2 * Limits().output_bytes
    assert [pid for pid, said in command_lines() if mark in said] == []


def test_to_the_host_it_is_not_root_either() -> None:
    """In a user namespace made by root, nobody is root to the kernel's own files."""
    mark = f"sleeper-{os.getpid()}"
    with ThreadPoolExecutor(1) as pool:
        over = pool.submit(as_this_user, f"{mark!r}\nimport time; time.sleep(3)", PATIENT)
        seen: set[int] = set()
        while not over.done():
            seen |= {users[0] for pid, said in command_lines() if mark in said and (users := users_of(pid))}
    assert over.result().exit == 0
    assert seen == {NOBODY if os.geteuid() == 0 else os.geteuid()}


def users_of(pid: int) -> list[int]:
    """The users that a process inside of the sandbox is, to the host; none if it is bubblewrap's own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        if Path(f"/proc/{pid}/comm").read_text().strip() == "bwrap" or b"\0-I\0" in raw_command_line(pid):
            return []
    except OSError:
        return []
    (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
    return [int(user) for user in line.split()[1:]]


def raw_command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_programs_do_break_out_where_nothing_holds_them(facts: dict[str, Any]) -> None:
    """Else a program that merely fails would pass for one that was held."""
    tried = {"reads the environment", "reads files of the host", "opens connections", "sees the repository"}
    environment = {**os.environ, "SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    for name in tried:
        source = f"facts = {facts!r}\n{PROGRAMS[name]}".replace("hello", "in vain")
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, env=environment)
        assert done.stdout.split() != [b"HELD"], name


def command_lines() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_text(errors="replace")
            except OSError:
                continue
