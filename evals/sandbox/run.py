"""One run of a program in the sandbox, watched until nothing of it is left.

Invariant: when `run` returns or raises, whatever ran inside is dead. Where the walls cannot be put up, the
program does not run. The module does not know what is run, nor what it is run for.
"""

from __future__ import annotations

import json
import os
import re
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evals.sandbox.bubblewrap import INTERPRETER, REMEDY, becomes, command, find_bubblewrap
from evals.sandbox.filter import seccomp_program
from evals.sandbox.launcher import READY
from evals.sandbox.limits import Limits
from stepdown.errors import SandboxError

LAUNCHER = Path(__file__).with_name("launcher.py")
CHUNK = 65_536
BY_SIGNAL = 128
DEATH_S = 10.0
FIRST = re.compile(rb'"child-pid": (\d+)')
DEFAULT = Limits()
_seen_working: set[str] = set()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a program.

    Attributes:
        exit: Its exit status; 128 and the signal's number where a signal ended it.
        stdout: What it wrote, cut at the limit on output. Likewise `stderr`.
        why: Why it was killed, in words; None where it ended by itself, or by a limit of the kernel.
    """

    exit: int
    stdout: bytes
    stderr: bytes
    why: str | None = None


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    files: Mapping[str, bytes] | None = None,
    limits: Limits = DEFAULT,
) -> Result:
    """Run a program in the sandbox.

    Args:
        argv: The program, by its path inside, and its arguments. `INTERPRETER` is there.
        stdin: What it can read.
        files: What lies in its scratch folder, which is its working directory; plain names.
        limits: What it may use.

    Raises:
        SandboxError: There is no sandbox here: nothing was run.
    """
    for name in files or {}:
        if Path(name).name != name or name == "..":
            raise SandboxError(f"file {name!r} must have a plain name, without a folder")
    bwrap = find_bubblewrap()
    order = {
        "argv": list(argv),
        "uid": becomes(),
        "files": {name: content.hex() for name, content in (files or {}).items()},
        "limits": asdict(limits),
    }
    written = json.dumps(order).encode()
    process, told = _start(bwrap, limits)
    with process:
        return _Watch(process, told, limits).until_over(len(written).to_bytes(8, "big") + written + stdin)


def why_not() -> str | None:
    """Why nothing can be run in isolation here, with the remedy; None where it can. Really tries, once."""
    try:
        bwrap = find_bubblewrap()
        if bwrap not in _seen_working:
            run([INTERPRETER, "-S", "-c", "pass"], limits=Limits(wall_s=30.0))
            _seen_working.add(bwrap)
    except SandboxError as error:
        return str(error)
    return None


def _start(bwrap: str, limits: Limits) -> tuple[subprocess.Popen[bytes], int]:
    """Start bubblewrap; also returns the descriptor on which it tells of the first process inside."""
    rules, rules_end = os.pipe()
    told, tell = os.pipe()
    try:
        os.write(rules_end, seccomp_program())
        os.close(rules_end)
        process = subprocess.Popen(
            [*command(bwrap, rules, tell, limits), INTERPRETER, "-I", "-S", "-c", LAUNCHER.read_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
            pass_fds=(rules, tell),
            start_new_session=True,
        )
    except OSError as error:
        os.close(told)
        raise SandboxError(f"no sandbox: {bwrap} does not start: {error}; {REMEDY}") from error
    finally:
        os.close(rules)
        os.close(tell)
    return process, told


@dataclass(slots=True)
class _Watch:
    """Feeds a process and reads it, until it is over or has to be.

    Attributes:
        told: Where bubblewrap tells the id of the first process inside, whose death is the death of all.
        first: A descriptor of that process, once it is known.
    """

    process: subprocess.Popen[bytes]
    told: int
    limits: Limits
    read: dict[int, bytearray] = field(default_factory=dict)
    first: int | None = None

    def until_over(self, stdin: bytes) -> Result:
        try:
            why = self._follow(stdin)
        finally:
            self.process.kill()
            status = self.process.wait()
            self._see_all_dead()
        stdout, stderr = (bytes(read) for read in self.read.values())
        if not stderr.startswith(READY):
            said = stderr.decode(errors="replace").strip()[-300:] or why or f"exit status {status}"
            raise SandboxError(f"no sandbox: {said}; {REMEDY}")
        if status == BY_SIGNAL + signal.SIGXCPU:
            why = f"no end within {self.limits.cpu_s} s of processor time"
        return Result(status, stdout, stderr.removeprefix(READY), why)

    def _see_all_dead(self) -> None:
        """Wait for the kernel, which kills all inside when bubblewrap dies, a little later."""
        if self.first is None:
            self._meet_first()
        os.close(self.told)
        if self.first is None:
            return
        try:
            if not select.select([self.first], [], [], DEATH_S)[0]:
                raise SandboxError(f"what runs in the sandbox is not dead {DEATH_S:g} s after it was killed")
        finally:
            os.close(self.first)

    def _meet_first(self) -> None:
        if not select.select([self.told], [], [], 0)[0]:
            return
        found = FIRST.search(os.read(self.told, CHUNK))
        with suppress(ProcessLookupError):  # dead, and nothing of it left
            self.first = os.pidfd_open(int(found[1])) if found else None

    def _follow(self, stdin: bytes) -> str | None:
        """Feed and read; returns why the process has to be killed, or None where it is over."""
        stdin_pipe, *outputs = (self.process.stdin, self.process.stdout, self.process.stderr)
        assert stdin_pipe is not None
        self.read = {pipe.fileno(): bytearray() for pipe in outputs if pipe is not None}
        deadline = time.monotonic() + self.limits.wall_s
        ended = os.pidfd_open(self.process.pid)
        with selectors.DefaultSelector() as selector:
            try:
                os.set_blocking(stdin_pipe.fileno(), False)
                selector.register(stdin_pipe, selectors.EVENT_WRITE)
                for fd in (*self.read, ended, self.told):
                    selector.register(fd, selectors.EVENT_READ)
                return self._loop(selector, memoryview(stdin), ended, deadline)
            finally:
                os.close(ended)

    def _loop(
        self, selector: selectors.BaseSelector, stdin: memoryview, ended: int, deadline: float
    ) -> str | None:
        over = False
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and not over:
                return f"no end within {self.limits.wall_s:g} s"
            ready = {key.fd for key, _ in selector.select(0 if over else left)}
            over = over or ended in ready
            if self.told in ready:
                selector.unregister(self.told)
                self._meet_first()
            stdin = self._feed(selector, stdin, ready)
            for fd in ready & self.read.keys():
                self._take(selector, fd)
            if sum(map(len, self.read.values())) > self.limits.output_bytes + len(READY):
                return f"more than {self.limits.output_bytes} bytes of output"
            if over and not ready & self.read.keys():
                return None

    def _feed(self, selector: selectors.BaseSelector, stdin: memoryview, ready: set[int]) -> memoryview:
        pipe = self.process.stdin
        if pipe is None or pipe.closed or pipe.fileno() not in ready:
            return stdin
        try:
            stdin = stdin[os.write(pipe.fileno(), stdin[:CHUNK]) :]
        except BrokenPipeError:  # it does not read, as it may
            stdin = stdin[:0]
        if not stdin:
            selector.unregister(pipe)
            pipe.close()
        return stdin

    def _take(self, selector: selectors.BaseSelector, fd: int) -> None:
        piece = os.read(fd, CHUNK)
        self.read[fd] += piece
        if not piece:
            selector.unregister(fd)
