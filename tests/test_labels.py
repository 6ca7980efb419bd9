"""Labels of every kind, in real processes: users, a judge and a person on one task, and the suites beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from evals.replay.service import Service, free_port
from stepdown.ledger import schema
from stepdown.records import Mode, Role
from stepdown.settings import DEFAULT_TASK, Settings, load_settings
from tests.evals.judge.judging import judge_model, longer_wins
from tests.fakes import FakeModel, plain, running

PROMPTS = [f"Write {n} words about {topic}." for n in (3, 5, 7) for topic in ("ships", "trains", "bridges")]
SAME_KEY = {"authorization": "Bearer none"}
LONG, SHORT = "A long and thorough answer.", "Short."
SUITE = """
name = "small suite"
cases = "cases.jsonl"
check = "short"
[checks.short]
kind = "exact"
"""


def labels_settings(home: Path, strong: FakeModel, small: FakeModel, judge: FakeModel) -> Settings:
    suite = home.parent / "suite.toml"
    suite.write_text(SUITE)
    case = {"prompt": "How do you answer?", "reference": SHORT}
    suite.with_name("cases.jsonl").write_text(json.dumps(case) + "\n")
    priced = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
    models = {
        name: {"model": f"{name}-1", "url": model.url, **priced}
        for name, model in (("strong", strong), ("small", small), ("referee", judge))
    }
    task: dict[str, Any] = {
        "strong": "strong",
        "small": "small",
        "judges": {"helpful": {"model": "referee"}},
        "audit_share": 1.0,
        "suites": [str(suite)],
    }
    values = {
        "home": str(home),
        "proxy": {"port": free_port(), "reload_s": 0.2},
        "dashboard": {"port": free_port()},
        "worker": {
            **{"label_every_s": 0.5, "judge_every_s": 0.5, "rank_every_s": 0.5},
            **{"suites_every_s": 1.0, "slices_every_s": 1.0},
        },
        "models": models,
        "tasks": {DEFAULT_TASK: task},
    }
    return load_settings("/dev/null", environ={}, overrides=values)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    strong, small = FakeModel(lambda _: plain(LONG)), FakeModel(lambda _: plain(SHORT))
    judge = judge_model(longer_wins)
    home = tmp_path_factory.mktemp("labels") / "home"
    with running(strong, small, judge):
        settings = labels_settings(home, strong, small, judge)
        with Service(settings, DEFAULT_TASK) as started:
            yield started


@pytest.fixture(scope="module")
def served(service: Service) -> list[str]:
    """The ids of the requests that the task has had: one a prompt."""
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)
    service.wait_for_mode(Mode.SHADOW)
    create = client.chat.completions.with_raw_response.create
    raws = [
        create(model="stepdown", messages=[{"role": "user", "content": prompt}]).headers for prompt in PROMPTS
    ]
    service.wait_for_calls()
    return [headers["x-stepdown-request-id"] for headers in raws]


def labels_of(service: Service, labeller: str) -> dict[str, str]:
    """Verdicts of a labeller by the model that gave the answer, of the newest call of each."""
    labels, calls = schema.labels, schema.calls
    joined = select(calls.c.model, labels.c.verdict).join(labels, labels.c.subject == calls.c.id)
    return {
        row.model: row.verdict for row in service.ledger.rows(joined.where(labels.c.labeller == labeller))
    }


def test_users_judges_and_people_label_what_the_proxy_served(service: Service, served: list[str]) -> None:
    said = {"request_id": served[0], "thumb": "down", "edit": LONG}
    assert httpx.post(f"{service.url}/v1/feedback", json=said, headers=SAME_KEY).status_code == 200
    service._wait_until("feedback is labelled", lambda: len(labels_of(service, "feedback:edit")) > 0)
    assert labels_of(service, "feedback:thumb") == {"strong-1": "bad"}
    assert labels_of(service, "feedback:edit") == {"strong-1": "good"}

    service._wait_until("the judge has labelled", lambda: len(labels_of(service, "judge:helpful")) == 2)
    assert labels_of(service, "judge:helpful") == {"strong-1": "good", "small-1": "bad"}
    calls = schema.calls
    judging = service.ledger.rows(select(calls.c.cost_usd_micros).where(calls.c.role == Role.JUDGE))
    assert judging
    assert all(row.cost_usd_micros > 0 for row in judging)

    def queue() -> Any:
        answer = httpx.get(f"{service.url}/v1/labels/queue", params={"annotator": "ann"})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    service._wait_until("people are asked", lambda: len(queue()) > 0)
    (item, *_) = queue()
    assert "strong-1" not in json.dumps(item)
    better = next(answer["label"] for answer in item["answers"] if answer["text"] == SHORT)
    verdict = {"id": item["id"], "annotator": "ann", "verdict": better}
    assert httpx.post(f"{service.url}/v1/labels", json=verdict).status_code == 200
    assert labels_of(service, "person:ann") == {"strong-1": "bad", "small-1": "good"}


def test_a_new_model_runs_its_suites_by_itself(service: Service) -> None:
    service._wait_until(
        "the suite has run", lambda: service.registry.newest("eval", DEFAULT_TASK) is not None
    )
    kept = service.registry.newest("eval", DEFAULT_TASK)
    assert kept is not None
    shown = json.loads(kept.content)
    assert shown["suite"]["name"] == "small suite"
    quality = {column["name"]: column["quality"]["value"] for column in shown["columns"]}
    assert quality == {"strong": 0.0, "small": 1.0}


def test_the_traffic_is_sliced(service: Service, served: list[str]) -> None:
    def known() -> int:
        kept = service.registry.newest("slices", DEFAULT_TASK)
        return kept.summary["prompts"] if kept else 0

    service._wait_until("slices are kept", lambda: known() > 0)
    assert known() <= len(served)
