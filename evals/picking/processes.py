"""Processes that examine candidates for the serving process, started when first needed.

Invariant: an examination ends in time: a process that is late, or whose asker has gone, is killed with all
its children and another one takes its place. None is given the environment, where the upstreams' keys are.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from evals.picking.examination import Examination, Finding, findings

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
LIMIT_S = 50.0  # for all answers, and a start; each has a limit of its own, which a check may not heed
PROCESSES = 4
LONGEST_LINE_BYTES = 1 << 20


class Examiners:
    """A few examining processes, shared by the stages of all tasks.

    Args:
        environ: The serving process's environment, of which little is passed on.
        processes: Most of them at once; an examination that finds none free waits.
        limit_s: Longest time for one examination.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        processes: int = PROCESSES,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._environ = {name: environ[name] for name in PASSED_ON if name in environ}
        self._limit_s = limit_s
        self._places = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []

    async def examine(self, examination: Examination) -> list[Finding]:
        """The findings, one for each answer.

        Raises:
            TimeoutError: There were none in time.
            EOFError: The process died of it.
        """
        line = msgspec.json.encode(examination) + b"\n"
        async with self._places:
            process = await self._process()
            try:
                async with asyncio.timeout(self._limit_s):
                    found = await _ask(process, line)
            except BaseException:  # what it says later would be the answer to another question
                await _kill(process)
                raise
            self._idle.append(process)
        return found

    async def _process(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "evals.picking.examination"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
            start_new_session=True,
            limit=LONGEST_LINE_BYTES,
        )

    async def close(self) -> None:
        """End the processes; closing twice changes nothing."""
        while self._idle:
            await _kill(self._idle.pop())


async def _ask(process: asyncio.subprocess.Process, line: bytes) -> list[Finding]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    with suppress(ConnectionError):  # that it died, its silence says
        await process.stdin.drain()
    answer = await process.stdout.readline()
    if not answer.endswith(b"\n"):
        raise EOFError(f"the examining process ended with code {await process.wait()}")
    return findings.decode(answer)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
