"""A portfolio in the real proxy, started by its command: the official client, SIGKILL under load, the end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI

from tests.fakes import Asked, FakeModel, Reply, plain, streamed
from tests.processes import wait_until
from tests.router.ledgers import calls_of, request_of
from tests.router.test_serving import HELLO, PATIENCE_S, ROOT, Load, Proxy, until

SETTINGS = """
home = "{home}"
[proxy]
port = 0
[models.strong]
model = "gpt"
url = "{url}"
[tasks.default]
check = "total"
[tasks.default.checks.total]
kind = "number"
[[tasks.default.portfolio.candidates]]
model = "strong"
system = "41"
[[tasks.default.portfolio.candidates]]
model = "strong"
system = "42"
"""


@contextmanager
def proxy(home: Path, url: str) -> Iterator[Proxy]:
    """A proxy whose strong tier has two prompts."""
    file = home / "stepdown.toml"
    file.write_text(SETTINGS.format(home=home, url=url))
    command = [sys.executable, "-m", "stepdown", "proxy", "--settings", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield Proxy(process, home)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def echo(asked: Asked) -> Reply:
    text = asked.json["messages"][0]["content"]
    return streamed(text, pause_s=0.002) if asked.json.get("stream") else plain(text)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_the_official_client_gets_the_answer_that_the_check_finds_good(
    tmp_path: Path, strong: FakeModel
) -> None:
    strong.behaviour = echo
    with proxy(tmp_path, strong.url) as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        truth = {"stepdown.reference": "42"}
        whole = client.chat.completions.with_raw_response.create(
            model="stepdown", messages=HELLO, metadata=truth
        )
        assert whole.parse().choices[0].message.content == "42"
        assert whole.headers["x-stepdown-picked-by"] == "check"
        stream = client.chat.completions.create(model="stepdown", messages=HELLO, metadata=truth, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).strip() == "42"
        examiners = children_of(running.process.pid)
        assert examiners, "the check works in a process of its own"
        assert running.stop() == 0
        wait_until(
            "no examining process is left",
            lambda: not any(os.path.exists(f"/proc/{pid}") for pid in examiners),  # noqa: PTH110
        )


async def test_sigkill_under_load_loses_no_candidate_of_an_answer_that_was_received(
    tmp_path: Path, strong: FakeModel
) -> None:
    strong.behaviour = echo
    with proxy(tmp_path, strong.url) as running:
        load = Load(running.url)
        clients = asyncio.create_task(load.run(12, asyncio.Event()))
        await until(lambda: len(load.received) >= 100)
        running.process.kill()
        await asyncio.wait_for(clients, PATIENCE_S)
        ledger = running.ledger()
    assert len(load.failures) == 12, "every client was cut off"
    for name in load.received:
        assert request_of(ledger, name).status == 200
        calls = calls_of(ledger, name)
        assert sorted(call.role for call in calls) == ["candidate", "live"]
        assert all(call.complete and ledger.body(call.body) for call in calls)
