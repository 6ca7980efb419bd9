"""Runs in the sandbox: what comes of a program, what ends it, and what happens where there is no sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evals.sandbox import INTERPRETER, Limits, Result, run, why_not
from stepdown.errors import SandboxError

ROOT = Path(__file__).parents[3]
here = pytest.mark.skipif(why_not() is not None, reason=f"NO SANDBOX HERE, NOTHING TESTED: {why_not()}")


def python(source: str, limits: Limits | None = None, **given: Any) -> Result:
    return run([INTERPRETER, "-P", "-S", "-c", source], limits=limits or Limits(), **given)


@here
def test_a_program_gets_its_input_and_files_and_its_output_and_status_come_back() -> None:
    source = (
        "import sys; print(sys.stdin.read(), open('a.txt').read()); print('no', file=sys.stderr); sys.exit(3)"
    )
    assert python(source, stdin=b"in", files={"a.txt": b"file"}) == Result(3, b"in file\n", b"no\n")


@here
def test_much_input_that_is_not_read_holds_nothing_up() -> None:
    assert python("print('done')", stdin=bytes(4 << 20)).stdout == b"done\n"
    assert python("import sys; print(len(sys.stdin.read()))", stdin=b"x" * (1 << 20)).stdout == b"1048576\n"


@here
@pytest.mark.parametrize(
    ("source", "limits", "why"),
    [
        ("while True: pass", Limits(cpu_s=1, wall_s=60), "no end within 1 s of processor time"),
        ("import time; time.sleep(60)", Limits(wall_s=1), "no end within 1 s"),
        (
            "while True: print('x' * 999)",
            Limits(output_bytes=5000, wall_s=60),
            "more than 5000 bytes of output",
        ),
    ],
)
def test_what_ends_a_program_is_said(source: str, limits: Limits, why: str) -> None:
    assert python(source, limits).why == why


@here
def test_each_run_has_an_empty_scratch_folder() -> None:
    source = "import os; print(os.listdir('.')); open('left', 'w').close()"
    assert [python(source).stdout for _ in range(2)] == [b"[]\n", b"[]\n"]


@here
def test_threads_and_the_standard_library_work() -> None:
    source = (
        "import asyncio, concurrent.futures, decimal, sqlite3, tempfile, threading, zoneinfo\n"
        "pool = concurrent.futures.ThreadPoolExecutor(8)\n"
        "print(sum(pool.map(abs, range(-9, 0))), asyncio.run(asyncio.sleep(0, 1)))\n"
        "tempfile.TemporaryFile().write(b'x'); sqlite3.connect(':memory:')"
    )
    assert python(source) == Result(0, b"45 1\n", b"")


@here
def test_a_program_that_is_not_there_says_so() -> None:
    result = run(["/bin/nothing"])
    assert result.exit == 1
    assert b"/bin/nothing" in result.stderr


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/x", ".."])
def test_a_file_with_a_folder_is_refused(name: str) -> None:
    with pytest.raises(SandboxError, match="plain name"):
        run([INTERPRETER], files={name: b""})


@here
def test_nothing_outlives_the_one_who_ran_it(tmp_path: Path) -> None:
    """A worker that is killed takes what it runs with it."""
    mark = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    worker = subprocess.Popen(
        [sys.executable, "-c",
         "import sys; sys.path.insert(0, sys.argv[2])\n"
         "from evals.sandbox import *\n"
         "run([INTERPRETER, '-c', 'import time; time.sleep(600)', sys.argv[1]], limits=Limits(wall_s=600))",
         mark, str(ROOT)],
    )  # fmt: skip
    try:
        assert _comes_true(lambda: len(_with(f"sleep(600)\0{mark}")) > 0)
    finally:
        worker.kill()
        worker.wait()
    assert _comes_true(lambda: _with(mark) == [])


def _with(mark: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [file.parent.name] if mark in file.read_text(errors="replace") else []
        except OSError:
            continue
    return found


def _comes_true(condition: object, within_s: float = 30.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@here
def test_a_signal_to_the_one_who_waits_ends_the_program_too() -> None:
    mark = f"broken-off-{os.getpid()}-{time.monotonic_ns()}"

    def interrupt(*_: object) -> None:
        raise TimeoutError("enough")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(TimeoutError, match="enough"):
            run([INTERPRETER, "-S", "-c", "import time; time.sleep(600)", mark], limits=Limits(wall_s=600))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert _comes_true(lambda: _with(mark) == [])


def test_without_bubblewrap_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="`bwrap` is not on the PATH; install bubblewrap"):
        run([INTERPRETER, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"])
    assert "install bubblewrap" in (why_not() or "")
    assert not (tmp_path / "ran").exists()


def test_where_bubblewrap_may_not_make_namespaces_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, or as on a system that gives them to nobody."""
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(SandboxError, match=r"No permissions to create new namespace; .*security-opt"):
        run([INTERPRETER, "-c", "pass"])
    assert "No permissions" in (why_not() or "")


def test_a_bubblewrap_that_only_pretends_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretending = tmp_path / "bwrap"
    pretending.write_text("#!/bin/sh\nexit 0\n")
    pretending.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert "no sandbox" in (why_not() or "")
