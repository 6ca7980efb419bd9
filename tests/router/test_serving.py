"""The proxy as a real process: the official client, signals, and SIGKILL under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from stepdown.ledger import Ledger
from stepdown.records import Mode
from tests.fakes import FakeModel, Reply, closed_port, plain, streamed
from tests.processes import wait_until
from tests.router.ledgers import (
    calls_of,
    count,
    decision_of,
    promote,
    request_of,
    router_that_prefers,
)

ROOT = Path(__file__).parents[2]
HELLO: Any = [{"role": "user", "content": "hello"}]
ENTRY = """
import os, sys
from router.serving import serve
from stepdown.settings import load_settings
serve(load_settings(sys.argv[1]), os.environ)
"""
PATIENCE_S = 30


class Proxy:
    """A running proxy process."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process = process
        self.ledger_url = f"sqlite:///{home / 'ledger.db'}"
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("stepdown proxy listening on http://127.0.0.1:"), line
        self.url = line.split()[-1]

    def ledger(self) -> Ledger:
        return Ledger(self.ledger_url)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def proxy(home: Path, **models: str) -> Iterator[Proxy]:
    """A proxy with these models by alias and base URL."""
    lines = [f'home = "{home}"', "[proxy]", "port = 0", "reload_s = 0.05"]
    for alias, url in models.items():
        lines += [f"[models.{alias}]", f'model = "{alias}-model"', f'url = "{url}"', "timeout_s = 20"]
    file = home / "stepdown.toml"
    file.write_text("\n".join(lines))
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, str(file)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield Proxy(process, home)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_official_client_plain_and_streaming(tmp_path: Path, strong: FakeModel) -> None:
    with proxy(tmp_path, strong=strong.url) as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        assert next(model.id for model in client.models.list()) == "stepdown"
        whole = client.chat.completions.with_raw_response.create(model="stepdown", messages=HELLO)
        assert whole.parse().choices[0].message.content == "Hello."
        chunks = list(client.chat.completions.create(model="stepdown", messages=HELLO, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello there, you. "
        assert all(chunk.usage is None for chunk in chunks)
        counted = list(
            client.chat.completions.create(
                model="stepdown", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
        )
        assert counted[-1].usage is not None
        with pytest.raises(APIStatusError, match="gpt-9") as refused:
            client.chat.completions.create(model="gpt-9", messages=HELLO)
        assert refused.value.status_code == 404
        ledger = running.ledger()
        (call,) = calls_of(ledger, whole.headers["x-stepdown-request-id"])
        assert (call.complete, call.prompt_tokens) == (True, 7)
        assert count(ledger, "requests") == 3
        assert running.stop() == 0


async def test_the_official_async_client(tmp_path: Path, strong: FakeModel) -> None:
    with proxy(tmp_path, strong=strong.url) as running:
        async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="stepdown", messages=HELLO) for _ in range(20))
            )
            assert {answer.choices[0].message.content for answer in answers} == {"Hello."}
            stream = await client.chat.completions.create(model="stepdown", messages=HELLO, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert text == "Hello there, you. "


def test_a_body_that_is_too_large_is_refused_and_the_connection_lives(
    tmp_path: Path, strong: FakeModel
) -> None:
    with proxy(tmp_path, strong=strong.url) as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        for _ in range(2):
            with pytest.raises(APIStatusError, match="max_body_bytes") as refused:
                client.chat.completions.create(
                    model="stepdown", messages=[{"role": "user", "content": "x" * 21_000_000}]
                )
            assert refused.value.status_code == 413
        client.chat.completions.create(model="stepdown", messages=HELLO)


def test_strong_down_is_an_error_at_once(tmp_path: Path) -> None:
    with proxy(tmp_path, strong=f"http://127.0.0.1:{closed_port()}/v1") as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        with pytest.raises(APIStatusError, match="cannot be reached") as refused:
            client.chat.completions.create(model="stepdown", messages=HELLO)
        assert refused.value.status_code == 503
        with urlopen(f"{running.url}/readyz") as ready:
            assert ready.status == 200


class Load:
    """Clients that send one request after another, and note which answers they fully received."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self.received: list[str] = []
        self.failures: list[str] = []
        self.reasons: set[str] = set()

    async def run(self, clients: int, stop: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._client(session, i, stop) for i in range(clients)))

    async def _client(self, session: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            stream = (number + turn) % 2 == 0
            message = {"role": "user", "content": f"client {number}, turn {turn}"}
            sent = {"model": "stepdown", "messages": [message], "stream": stream}
            try:
                async with session.post(self._url, json=sent) as response:
                    await self._receive(response, stream)
            except (aiohttp.ClientError, ConnectionError) as error:
                self.failures.append(repr(error))
                return

    async def _receive(self, response: aiohttp.ClientResponse, stream: bool) -> None:
        name = response.headers["x-stepdown-request-id"]
        self.reasons.add(response.headers["x-stepdown-reason"])
        if response.status != 200:
            self.failures.append(f"{response.status}")
        if stream:
            async for line in response.content:
                if line == b"data: [DONE]\n":
                    self.received.append(name)
        else:
            json.loads(await response.read())
            self.received.append(name)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not done():  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.005)


def slow_enough(asked: Any) -> Reply:
    return streamed(pause_s=0.002) if asked.json.get("stream") else plain()


async def test_sigkill_under_load_loses_no_answer_that_was_received(
    tmp_path: Path, strong: FakeModel
) -> None:
    strong.behaviour = slow_enough
    with proxy(tmp_path, strong=strong.url) as running:
        load = Load(running.url)
        clients = asyncio.create_task(load.run(24, asyncio.Event()))
        await until(lambda: len(load.received) >= 300)
        running.process.kill()
        await asyncio.wait_for(clients, PATIENCE_S)
        ledger = running.ledger()
    assert len(load.failures) == 24, "every client was cut off"
    assert len(set(load.received)) == len(load.received) >= 300
    for name in load.received:
        request = request_of(ledger, name)
        (call,) = calls_of(ledger, name)
        assert request.status == 200
        assert decision_of(ledger, name).request == name
        assert call.complete
        assert ledger.body(request.body).startswith(b'{"model"')
        assert b"[DONE]" in ledger.body(call.body) or ledger.body(call.body).endswith(b"}")


async def test_hot_reload_under_load_drops_no_request(
    tmp_path: Path, strong: FakeModel, small: FakeModel
) -> None:
    with proxy(tmp_path, strong=strong.url, small=small.url) as running:
        load, stop, ledger = Load(running.url), asyncio.Event(), running.ledger()
        clients = asyncio.create_task(load.run(8, stop))
        steps = [
            (Mode.SHADOW, None, "mode_shadow"),
            (Mode.ROUTE, router_that_prefers(small=True).to_bytes(), "gain_below_threshold"),
            (Mode.ROUTE, b"corrupt", "artifact_refused"),
            (Mode.ROUTE, router_that_prefers(small=False).to_bytes(), "gain_above_threshold"),
        ]
        for mode, content, reason in steps:
            await asyncio.to_thread(promote, ledger, mode, content)
            await until(lambda: reason in load.reasons)  # noqa: B023 - awaited at once
        stop.set()
        await clients
        assert not load.failures
        assert await asyncio.to_thread(running.stop) == 0
    assert count(ledger, "requests") == len(load.received)


def test_sigterm_answers_what_was_begun_and_exits_with_0(tmp_path: Path, strong: FakeModel) -> None:
    strong.behaviour = lambda asked: streamed(pause_s=0.2)
    with proxy(tmp_path, strong=strong.url) as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        stream = client.chat.completions.create(model="stepdown", messages=HELLO, stream=True)
        first = next(iter(stream))
        stopping: list[int] = []
        stopper = threading.Thread(target=lambda: stopping.append(running.stop()))
        stopper.start()
        rest = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        stopper.join()
        assert first.choices[0].delta.role == "assistant"
        assert rest == "Hello there, you. "
        assert stopping == [0]
        assert count(running.ledger(), "calls") == 1


def test_a_client_that_hangs_up_mid_stream_leaves_a_record(tmp_path: Path, strong: FakeModel) -> None:
    strong.behaviour = lambda asked: streamed("one two three four five six", pause_s=0.2)
    with proxy(tmp_path, strong=strong.url) as running:
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        answer = client.chat.completions.with_raw_response.create(
            model="stepdown", messages=HELLO, stream=True
        )
        stream = answer.parse()
        next(iter(stream))
        stream.response.close()
        ledger = running.ledger()
        assert running.stop() == 0
        name = answer.headers["x-stepdown-request-id"]
        (call,) = calls_of(ledger, name)
        assert request_of(ledger, name).status == 499
        assert decision_of(ledger, name).chosen == "strong"
        assert (call.complete, call.status) == (False, 200)
        assert ledger.body(call.body).startswith(b"data: ")
        wait_until("the model finds, at its next piece, nobody listening", lambda: strong.closed_early == 1)


def test_a_shadow_call_under_way_is_waited_for(tmp_path: Path, strong: FakeModel, small: FakeModel) -> None:
    small.behaviour = lambda asked: Reply(parts=plain().parts, head_after_s=1.0)
    with proxy(tmp_path, strong=strong.url, small=small.url) as running:
        ledger = running.ledger()
        promote(ledger, Mode.SHADOW)
        client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        while not small.asked:
            client.chat.completions.create(model="stepdown", messages=HELLO)
            time.sleep(0.02)
        assert running.stop() == 0
        shadows = [c for c in _all_calls(ledger) if c.role == "shadow"]
        assert len(shadows) == len(small.asked)
        assert all(shadow.complete for shadow in shadows)


def _all_calls(ledger: Ledger) -> Any:
    from sqlalchemy import select

    from stepdown.ledger import schema

    return ledger.rows(select(schema.calls))


def test_another_machine_is_not_let_in_without_keys(tmp_path: Path, strong: FakeModel) -> None:
    settings = (
        f'home = "{tmp_path}"\n[proxy]\nhost = "0.0.0.0"\n[models.strong]\nmodel="m"\nurl="{strong.url}"'
    )
    (tmp_path / "stepdown.toml").write_text(settings)
    run = subprocess.run(
        [sys.executable, "-c", ENTRY, str(tmp_path / "stepdown.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
    )
    assert run.returncode != 0
    assert "proxy.host = '0.0.0.0'" in run.stderr


def test_the_built_app_has_imported_nothing_heavy(tmp_path: Path) -> None:
    probe = """
import sys
from router.app import create_app
import router.serving
from stepdown.settings import ModelSettings, Settings
models = {"strong": ModelSettings(model="anthropic/x"), "small": ModelSettings(model="m", url="http://x/v1")}
create_app(Settings(models=models), environ={})
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"litellm", "pandas", "sklearn", "scipy", "matplotlib"}, loaded
"""
    subprocess.run([sys.executable, "-c", probe], check=True, cwd=ROOT, env={**os.environ}, timeout=60)
