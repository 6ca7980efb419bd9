"""Examining processes: real ones, which hang, die, and are asked again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from evals.picking.examination import Examination, Said
from evals.picking.processes import Examiners
from router.wire import ToolCall
from tests.processes import wait_until

FORTY_TWO = Examination(
    "c",
    {"c": {"kind": "number"}},
    "42",
    "asked",
    (Said("It is 42", (ToolCall("f", "{}"),), "stop", "no"), Said("7")),
)
HOSTILE = Examination("c", {"c": {"kind": "regex"}}, '"(a+)+$"', "", (Said("a" * 40 + "b"),))


@asynccontextmanager
async def examiners(**how: Any) -> AsyncIterator[Examiners]:
    made = Examiners(os.environ, **how)
    yield made
    await made.close()


async def verdicts(made: Examiners, examination: Examination = FORTY_TWO) -> list[str]:
    return [finding.verdict for finding in await made.examine(examination)]


def process_of(made: Examiners) -> asyncio.subprocess.Process:
    (process,) = made._idle
    return process


async def test_one_process_answers_again_and_again() -> None:
    async with examiners() as made:
        assert await verdicts(made) == ["good", "bad"]
        first = process_of(made).pid
        assert await verdicts(made) == ["good", "bad"]
        assert process_of(made).pid == first


async def test_many_at_once_share_a_few_processes() -> None:
    async with examiners(processes=2) as made:
        found = await asyncio.gather(*(verdicts(made) for _ in range(12)))
        assert found == [["good", "bad"]] * 12
        assert len(made._idle) == 2


async def test_one_that_is_late_is_killed_and_replaced() -> None:
    async with examiners(limit_s=1.5) as made:
        await verdicts(made)
        late = process_of(made)
        with pytest.raises(TimeoutError):
            await made.examine(HOSTILE)
        assert late.returncode == -signal.SIGKILL
        assert await verdicts(made) == ["good", "bad"]
        assert process_of(made).pid != late.pid


async def test_an_asker_that_goes_leaves_no_answer_to_the_next() -> None:
    async with examiners() as made:
        asking = asyncio.create_task(made.examine(HOSTILE))
        await asyncio.sleep(0.3)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await verdicts(made) == ["good", "bad"]


async def test_askers_that_go_while_processes_start_are_not_held_up() -> None:
    async with examiners(processes=1) as made:
        for steps in range(1, 8):
            asking = asyncio.create_task(made.examine(FORTY_TWO))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            async with asyncio.timeout(10):
                with pytest.raises(asyncio.CancelledError):
                    await asking
        assert await verdicts(made) == ["good", "bad"]


async def test_one_that_died_is_replaced() -> None:
    async with examiners() as made:
        await verdicts(made)
        os.kill(process_of(made).pid, signal.SIGKILL)
        await process_of(made).wait()
        assert await verdicts(made) == ["good", "bad"]


async def test_it_has_no_key_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with examiners() as made:
        await verdicts(made)
        with open(f"/proc/{process_of(made).pid}/environ", "rb") as file:  # noqa: ASYNC230, PTH123
            seen = file.read()
    assert b"PATH=" in seen
    assert b"sk-secret" not in seen


def test_what_a_check_prints_is_no_answer() -> None:
    probe = (
        "import evals.picking.examination as e, os; out = e.own_output(); os.write(1, b'printed'); "
        "out.write(b'answered'); out.flush()"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"answered", b"printed")


def test_it_ends_with_the_process_that_asked() -> None:
    """Killed, the serving process cannot close anything."""
    probe = """
import asyncio, os
from evals.picking.processes import Examiners
from tests.evals.picking.test_processes import FORTY_TWO
async def main():
    made = Examiners(os.environ)
    await made.examine(FORTY_TWO)
    print(made._idle[0].pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    asking = subprocess.Popen([sys.executable, "-c", probe], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    assert _is_alive(pid)
    asking.kill()
    asking.wait()
    asking.stdout.close()
    wait_until("the examining process sees that nobody asks", lambda: not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
