"""Feedback and people's labels through two real proxies on one ledger, by the clients that people use."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIStatusError, OpenAI
from sqlalchemy import select

from evals.feedback import label_feedback
from evals.people import people_frame
from evals.queue import rank
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings
from tests.answered import feedback_in, labels_in
from tests.fakes import FakeModel
from tests.router.test_serving import Proxy, proxy

TASK = TaskSettings(audit_share=1.0)


@contextmanager
def two_proxies(home: Path, url: str) -> Iterator[tuple[Proxy, Proxy]]:
    """Two processes that serve one ledger."""
    with proxy(home, strong=url) as one, proxy(home, strong=url) as two:
        yield one, two


def ask(running: Proxy, content: str = "hello") -> str:
    """Ask with the official client; returns the request's id."""
    client = OpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
    messages: Any = [{"role": "user", "content": content}]
    raw = client.chat.completions.with_raw_response.create(model="stepdown", messages=messages)
    assert raw.parse().choices[0].message.content == "Hello."
    return str(raw.headers["x-stepdown-request-id"])


def test_feedback_from_the_official_client_to_any_proxy(tmp_path: Path, strong: FakeModel) -> None:
    with two_proxies(tmp_path, strong.url) as (one, two):
        request = ask(one)
        client = OpenAI(base_url=f"{two.url}/v1", api_key="sk-x", max_retries=0)
        said: dict[str, Any] = {"request_id": request, "thumb": "up", "edit": "Hello!"}
        answer = client.post("/feedback", body=said, cast_to=httpx.Response).json()
        assert answer["kept"] == ["thumb", "edit"]
        with pytest.raises(APIStatusError, match="not known to this key") as unknown:
            OpenAI(base_url=f"{one.url}/v1", api_key="sk-y", max_retries=0).post(
                "/feedback", body=said, cast_to=httpx.Response
            )
        assert unknown.value.status_code == 404
        ledger = one.ledger()
        assert label_feedback(ledger, {"default": TASK}).good == 2


def test_the_same_said_at_once_to_two_proxies_under_load(tmp_path: Path, strong: FakeModel) -> None:
    with two_proxies(tmp_path, strong.url) as both, ThreadPoolExecutor(8) as threads:
        requests = list(threads.map(lambda n: ask(both[n % 2], f"question {n}"), range(8)))
        ledger = both[0].ledger()
        rank(ledger, "default", TASK)
        fetched = httpx.get(f"{both[0].url}/v1/labels/queue", params={"annotator": "ada"}).json()
        assert len(fetched["data"]) == 8

        def send(running: Proxy, path: str, document: dict[str, Any]) -> int:
            return httpx.post(f"{running.url}/v1/{path}", json=document, headers=KEY).status_code

        jobs = [
            threads.submit(send, running, "feedback", {"request_id": request, "thumb": "down"})
            for request in requests
            for running in both
        ]
        jobs += [
            threads.submit(
                send, running, "labels", {"id": item["id"], "annotator": person, "verdict": "good"}
            )
            for item in fetched["data"]
            for person in ("ada", "bob")
            for running in both
        ]
        jobs += [threads.submit(lambda: bool(ask(both[0])) and 200) for _ in range(4)]
        assert {job.result() for job in jobs} == {200}
        assert len(feedback_in(ledger)) == len(requests)
        assert len(labels_in(ledger)) == 2 * len(requests)
        frame = people_frame(ledger, "default")
        assert set(frame["annotator"]) == {"ada", "bob"}
        assert ledger.rows(select(schema.label_queue)) == []


KEY = {"Authorization": "Bearer sk-x"}


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, strong: FakeModel) -> None:
    with proxy(tmp_path, strong=strong.url) as running:
        request = ask(running)
        rank(running.ledger(), "default", TASK)
        with httpx.Client(base_url=f"{running.url}/v1", headers=KEY) as client:
            (item,) = client.get("/labels/queue").json()["data"]
            assert client.post("/labels", json={"id": item["id"], "verdict": "bad"}).json()["kept"]
            assert client.post("/feedback", json={"id": request, "comment": "meh"}).json()["kept"]
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    ledger = Ledger(running.ledger_url)
    assert [(row.labeller, row.verdict) for row in labels_in(ledger)] == [("person:anonymous", "bad")]
    assert [row.value for row in feedback_in(ledger)] == ['"meh"']
