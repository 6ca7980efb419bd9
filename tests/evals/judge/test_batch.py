"""Batches: sent once, found again after a kill, read twice without harm, asked again where they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from evals.judge import batch, history
from router import ask
from stepdown.ledger import Ledger, schema
from stepdown.settings import Settings
from tests.evals.judge.endpoint import Provider, serving, wait_for
from tests.evals.judge.judging import evidence, judge_calls, labels, settings_for, sweep
from tests.processes import Process
from tests.traffic import answered

ON_BOTH_DATABASES = True


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(history, "FIRST_WAIT", timedelta(0))


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(Provider()) as made:
        yield made


def batching(provider: Provider, **judge: Any) -> Settings:
    return settings_for(provider, batch=True, **{"batch_from": 5, **judge})


def pairs(ledger: Ledger, count: int) -> list[str]:
    """Pairs that strong wins; gives strong's calls."""
    return [answered(ledger, "sums", f"{n}?", f"It is {n}.", shadow=f"{n}").call for n in range(count)]


def states(ledger: Ledger) -> list[str]:
    return [row.state for row in ledger.rows(select(schema.batches).order_by(schema.batches.c.at))]


def test_a_large_backlog_is_one_batch_judged_at_the_batch_price(ledger: Ledger, provider: Provider) -> None:
    strong = pairs(ledger, 6)
    settings = batching(provider, batch_price=0.5)
    counts = sweep(ledger, settings)
    assert (counts.batched, counts.judged) == (6, 0)
    assert states(ledger) == ["submitted"]
    for _ in range(2):  # in_progress, finalizing
        counts = sweep(ledger, settings)
        assert (counts.batched, counts.judged) == (0, 0)
    assert sweep(ledger, settings).judged == 6
    assert states(ledger) == ["done"]
    assert all(labels(ledger)[call] == ("good", 1.0) for call in strong)
    calls = judge_calls(ledger)
    assert [(call.cost_usd_micros, call.status, call.complete) for call in calls] == [(55, 200, True)] * 12
    assert provider.chats == []
    assert len(provider.batches) == 1
    seen = len(provider.seen)
    assert sweep(ledger, settings).judged == 0
    assert len(provider.seen) == seen


def test_a_batch_asks_what_a_judge_would_be_asked(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 5)
    sweep(ledger, batching(provider, votes=2))
    lines = provider.asked()
    assert len({line["custom_id"] for line in lines}) == len(lines) == 5 * 2 * 2
    assert all(len(line["custom_id"]) <= 64 for line in lines)
    body = lines[0]["body"]
    assert body["model"] == "referee-1"
    assert body["max_tokens"] == 400
    assert "BEGIN ANSWER A" in body["messages"][1]["content"]


def test_a_small_backlog_is_asked_at_once(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 4)
    assert sweep(ledger, batching(provider)).judged == 4
    assert provider.batches == {}


def test_what_comes_while_a_batch_is_under_way_is_judged_meanwhile(
    ledger: Ledger, provider: Provider
) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    new = answered(ledger, "sums", "new?", "It is new.", shadow="new")
    assert sweep(ledger, settings).judged == 1
    assert set(labels(ledger)) == {new.call, new.shadow}
    assert len(provider.chats) == 2


def test_identical_answers_are_settled_and_not_sent(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 5)
    same = answered(ledger, "sums", "same?", "4", shadow="4")
    counts = sweep(ledger, batching(provider))
    assert (counts.judged, counts.batched) == (1, 5)
    assert labels(ledger)[same.call] == ("good", 0.5)


def test_a_batch_that_fails_is_said_and_its_questions_are_put_one_by_one(
    ledger: Ledger, provider: Provider
) -> None:
    provider.statuses = ("validating", "failed")
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    counts = sweep(ledger, settings)
    assert counts.judged == 5
    assert states(ledger) == ["failed"]
    assert "not valid JSON" in counts.notes[0]
    assert len(provider.chats) == 10


def test_an_endpoint_that_refuses_a_batch_is_left_alone_for_a_while(
    ledger: Ledger, provider: Provider
) -> None:
    provider.refuses["POST /files"] = 404
    pairs(ledger, 5)
    settings = batching(provider)
    counts = sweep(ledger, settings)
    assert counts.judged == 5
    assert "404" in counts.notes[0]
    pairs(ledger, 6)
    assert sweep(ledger, settings).judged == 6
    assert provider.seen.count("POST /files") == 1


def test_an_expired_batch_keeps_what_it_has_and_asks_the_rest_again(
    ledger: Ledger, provider: Provider
) -> None:
    provider.statuses = ("validating", "expired")
    pairs(ledger, 6)
    settings = batching(provider)
    sweep(ledger, settings)
    missing = provider.asked()[0]["custom_id"]
    provider.fails = lambda name: "batch_expired" if name == missing else None
    counts = sweep(ledger, settings)
    assert counts.judged == 6
    assert states(ledger) == ["expired"]
    assert len(provider.chats) == 1
    assert len(judge_calls(ledger)) == 12


def test_lines_that_failed_are_tried_again_and_on_record(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 6)
    settings = batching(provider)
    sweep(ledger, settings)
    lines = [line["custom_id"] for line in provider.asked()]
    refusal = json.dumps({"error": {"message": "too many", "type": "x"}})
    answers: dict[str, tuple[int, str] | str] = {lines[0]: (429, refusal), lines[3]: "server_error"}
    provider.fails = answers.get
    for _ in range(3):
        counts = sweep(ledger, settings)
    assert counts.judged == 6
    assert len(provider.chats) == 2
    failed = [call for call in judge_calls(ledger) if not call.complete]
    assert sorted(call.status for call in failed) == [0, 429]
    assert any("too many" in call.error for call in failed)


def test_prose_in_a_batch_is_unscored(ledger: Ledger, provider: Provider) -> None:
    provider.judging = lambda _: "A is better."
    strong = pairs(ledger, 5)
    settings = batching(provider)
    for _ in range(4):
        counts = sweep(ledger, settings)
    assert counts.unscored == 5
    assert "A is better" in evidence(ledger)[strong[0]]


def test_results_that_cannot_be_read_are_counted_and_asked_again(ledger: Ledger, provider: Provider) -> None:
    provider.statuses = ("validating", "completed")
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    provider.look("batch_0")
    output = provider.batches["batch_0"]["output_file_id"]
    first, *rest = provider.files[output].splitlines()
    stranger = json.dumps({"custom_id": "who.1", "response": None, "error": None}).encode()
    provider.files[output] = b"\n".join([first[:-9], b"[]", b"", stranger, *rest])
    counts = sweep(ledger, settings)
    assert counts.judged == 5
    assert "3 lines" in counts.notes[0]
    assert len(provider.chats) == 1


def test_results_that_are_read_twice_change_nothing(ledger: Ledger, provider: Provider) -> None:
    provider.statuses = ("validating", "completed")
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    sweep(ledger, settings)
    before = judge_calls(ledger), labels(ledger)
    with ledger.writing() as connection:
        connection.execute(update(schema.batches).values(state="submitted"))
        connection.execute(schema.labels.delete())
    assert sweep(ledger, settings).judged == 5
    assert (judge_calls(ledger), labels(ledger)) == before
    assert provider.chats == []


def test_a_lookup_that_fails_leaves_the_batch_for_the_next_sweep(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    provider.refuses["GET /batches/batch_0"] = 500
    counts = sweep(ledger, settings)
    assert counts.judged == 0
    assert "500" in counts.notes[0]
    provider.refuses.clear()
    assert sum(sweep(ledger, settings).judged for _ in range(3)) == 5
    assert len(provider.batches) == 1


def test_a_batch_that_the_provider_lost_is_asked_again(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    provider.batches.clear()
    sweep(ledger, settings)
    assert states(ledger) == ["expired", "submitted"]


def test_a_batch_made_by_a_sweep_that_never_heard_of_it_is_found_by_its_tag(
    ledger: Ledger, provider: Provider
) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    sweep(ledger, settings)
    with ledger.writing() as connection:
        connection.execute(update(schema.batches).values(state="prepared", upstream_id=None))
    for number in range(1, 130):  # others of the same account, on two pages of the listing
        provider.batches[f"other_{number}"] = {**provider.batches["batch_0"], "id": f"other_{number}"}
        provider.batches[f"other_{number}"]["metadata"] = None if number % 2 else {"stepdown": "else"}
    sweep(ledger, settings)
    (row,) = ledger.rows(select(schema.batches))
    assert (row.state, row.upstream_id) == ("submitted", "batch_0")


def test_a_batch_the_provider_never_heard_of_is_made_anew_after_a_while(
    ledger: Ledger, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    provider.refuses["POST /batches"] = 503
    assert sweep(ledger, settings).batched == 5
    assert states(ledger) == ["prepared"]
    provider.refuses.clear()
    assert sweep(ledger, settings).batched == 0
    monkeypatch.setattr(batch, "UNHEARD_OF", timedelta(0))
    assert sweep(ledger, settings).batched == 5
    assert states(ledger) == ["abandoned", "submitted"]


def test_the_key_is_sent_and_never_shown(ledger: Ledger, provider: Provider) -> None:
    pairs(ledger, 5)
    settings = batching(provider)
    model = msgspec.structs.replace(settings.models["referee"], api_key_env="KEY")
    settings = msgspec.structs.replace(settings, models={**settings.models, "referee": model})
    provider.refuses["POST /files"] = 403

    from evals.judge.sweep import judge_all

    counts = judge_all(ledger, settings, {"KEY": "sk-secret"}, budget_s=60)
    assert provider.authorizations == {"Bearer sk-secret"}
    assert "[key]" in counts.notes[0]
    assert "sk-secret" not in str(counts)


@pytest.mark.parametrize(
    "at", ["POST /files", "POST /batches", "GET /batches/batch_0", "GET /files/file-1/content"]
)
def test_a_sweep_killed_at_any_point_pays_for_nothing_twice(
    ledger: Ledger, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The provider carries the call out, but the process is killed before the answer comes."""
    provider.statuses = ("validating", "completed")
    strong = pairs(ledger, 5)
    settings = msgspec.structs.replace(
        batching(provider),
        home=str(tmp_path),
        database=ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", ""),
    )
    file = tmp_path / "settings.json"
    file.write_bytes(msgspec.json.encode(settings))
    if at.startswith("GET"):
        sweep(ledger, settings)
        assert states(ledger) == ["submitted"]
    provider.stalls.add(at)
    command = [sys.executable, "-m", "stepdown", "judge", "--task", "sums", "--settings", str(file)]
    with Process(command, tmp_path / "judge.log") as process:
        wait_for(provider, at)
        process.kill_group()
    provider.stalls.clear()
    monkeypatch.setattr(batch, "UNHEARD_OF", timedelta(0))
    judged = sum(sweep(ledger, settings).judged for _ in range(4))
    assert judged == 5
    assert all(labels(ledger)[call] == ("good", 1.0) for call in strong)
    assert len(provider.batches) == 1
    assert provider.chats == []
    assert len(judge_calls(ledger)) == 10
