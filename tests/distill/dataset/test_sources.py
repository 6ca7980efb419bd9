"""What is mixed in beside the newest answers of traffic: earlier data, a general set, practice."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from distill.dataset import (
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    keep_dataset,
    read_dataset,
)
from distill.dataset.assemble import OVER_BUDGET
from stepdown.ids import digest
from stepdown.ledger import Body, Ledger
from stepdown.registry import Registry
from tests.distill.dataset.traffic import (
    ALL_TRAIN,
    TASK,
    Traffic,
    answers_in,
    built,
    examples_of,
    fill,
    prompts_in,
    question,
    settings_with,
)
from tests.fakes import completion

ON_BOTH_DATABASES = True
A_ROUND = {"confidence": 0.95}


def test_old_data_is_mixed_into_new(ledger: Ledger, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, replay_share=0.4, token_budget=3000, **ALL_TRAIN)
    with Traffic(ledger) as traffic:
        for n in range(100):
            traffic.pair(question(n), slice=f"s{n % 2}")
    old = built(ledger, settings)
    keep_dataset(ledger, old)
    assert old.card["replay"]["earlier"] == 0
    with Traffic(ledger) as traffic:
        for n in range(1000, 1200):
            traffic.pair(question(n), slice="new")
    new = built(ledger, settings)
    replay = new.card["replay"]
    again = prompts_in(new, TRAIN) & prompts_in(old, TRAIN)
    assert replay["earlier"] == len(again) > 0
    assert replay["share"] == pytest.approx(0.4, abs=0.05)
    slices = new.card["slices"]
    assert abs(slices["s0"]["train"] - slices["s1"]["train"]) <= 1
    assert sum(example.tokens for example in new.parts[TRAIN]) <= 3000
    assert new.card["left_out"][OVER_BUDGET] > 0


def test_a_general_set_is_mixed_in_and_stays_out_of_what_is_held_out(ledger: Ledger, tmp_path: Path) -> None:
    general = tmp_path / "general.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": question(n)},
                {"role": "assistant", "content": f"general {n}"},
            ],
            "licence": "MIT",
        }
        for n in range(5000, 5100)
    ]
    with Traffic(ledger) as traffic:
        fill(traffic, 100)
    held_out = prompts_in(built(ledger, settings_with(tmp_path)), TEST).pop()
    lines[0]["messages"][0]["content"] = held_out  # type: ignore[index]
    general.write_text("\n".join(map(json.dumps, lines)))
    settings = settings_with(tmp_path, general=str(general), replay_share=0.3)
    dataset = built(ledger, settings)
    found = [example for example in examples_of(dataset) if example.source == Source.GENERAL]
    assert {example.id for example in found} <= {example.id for example in dataset.parts[TRAIN]}
    assert held_out not in prompts_in(dataset, TRAIN)
    assert dataset.card["replay"]["general"] == len(found)
    assert len(found) / len(dataset.parts[TRAIN]) == pytest.approx(0.3, abs=0.01)
    assert dataset.card["licences"][str(general)] == "MIT"
    kept = keep_dataset(ledger, dataset)
    general.unlink()
    assert read_dataset(ledger, kept).parts == dataset.parts


def test_what_was_trained_on_by_the_general_set_is_never_held_out_later(
    ledger: Ledger, tmp_path: Path
) -> None:
    general = tmp_path / "general.jsonl"
    asked = [question(n) for n in range(5000, 5030)]
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "g"}]}
        for text in asked
    ]
    general.write_text("\n".join(map(json.dumps, rows)))
    settings = settings_with(tmp_path, general=str(general), replay_share=0.9, test_share=0.5)
    with Traffic(ledger) as traffic:
        fill(traffic)
    first = built(ledger, settings)
    assert set(asked) <= prompts_in(first, TRAIN)
    kept = keep_dataset(ledger, first)
    assert keep_dataset(ledger, built(ledger, settings)).id == kept.id
    with Traffic(ledger) as traffic:
        for text in asked:
            traffic.pair(text, "of traffic")
    second = built(ledger, settings)
    assert set(asked) <= prompts_in(second, TRAIN)
    assert answers_in(second)[asked[0]] == "of traffic"


def test_good_answers_of_practice_are_learnt_beside_the_best(ledger: Ledger, tmp_path: Path) -> None:
    student = digest(b"student")
    with Traffic(ledger) as traffic:
        fill(traffic)
        requests = [traffic.pair(question(n), "strong", small_good=False) for n in range(3)]
    bodies = [Body.of(completion(text)) for text in ("my own way", "strong", "another way")]
    ledger.append(bodies)
    before = built(ledger, settings_with(tmp_path))
    known = {example.request: example.origin.body for example in examples_of(before)}
    kept = [
        {"request": request, "body": known[request], "answer": body.digest}
        for request, body in zip(requests, bodies, strict=True)
    ]
    kept.append({**kept[0], "request": "of nobody"})
    content = msgspec.json.encode({"task": TASK, "student": student, "kept": kept})
    Registry(ledger).keep("practice", TASK, content, settings=A_ROUND, summary={"round": 1, "kept": 3})
    dataset = built(ledger, settings_with(tmp_path, **ALL_TRAIN))
    practised = [example for example in dataset.parts[TRAIN] if example.source == Source.PRACTICE]
    assert sorted(example.messages[-1]["content"] for example in practised) == ["another way", "my own way"]
    assert all(example.teacher and example.teacher.startswith("stepdown-student-") for example in practised)
    split = built(ledger, settings_with(tmp_path, test_share=0.4, validation_share=0.4))
    assert not any(e.source == Source.PRACTICE for part in (TEST, VALIDATION) for e in split.parts[part])
