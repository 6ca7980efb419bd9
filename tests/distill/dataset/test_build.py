"""Datasets from a ledger: built twice they are the same, within their budget, and say what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.dataset import (
    TRAIN,
    approximate_tokens,
    build_dataset,
    keep_dataset,
    new_examples,
    read_dataset,
)
from distill.dataset.assemble import TOO_LONG
from stepdown.errors import DatasetError, NotEnoughEvidence, SettingsError
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from tests.distill.dataset.traffic import (
    MANY,
    TASK,
    Traffic,
    answers_in,
    built,
    examples_of,
    fill,
    forget,
    prompts_in,
    question,
    settings_with,
)

ON_BOTH_DATABASES = True


def test_the_same_ledger_gives_the_same_dataset_again(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
    settings = settings_with(tmp_path)
    first = keep_dataset(ledger, built(ledger, settings))
    assert keep_dataset(ledger, built(ledger, settings)).id == first.id
    with Traffic(ledger) as traffic:
        fill(traffic, 10, first=5000)
    second = keep_dataset(ledger, built(ledger, settings))
    assert second.id != first.id
    assert first.id in second.parents
    assert keep_dataset(ledger, built(ledger, settings)).id == second.id
    assert Registry(ledger).count("dataset", TASK) == 2
    other = keep_dataset(ledger, built(ledger, settings_with(tmp_path, hard_weight=3.0)))
    assert other.id not in (first.id, second.id)


def test_personal_data_is_redacted_dropped_or_kept(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.pair("Write to jo@example.com about " + question(1), "I wrote to jo@example.com")
    redacted = built(ledger, settings_with(tmp_path))
    answers = answers_in(redacted)
    assert answers["Write to [EMAIL_1] about " + question(1)] == "I wrote to [EMAIL_1]"
    assert redacted.card["personal"] == {"policy": "redact", "examples": 1, "values": {"EMAIL": 1}}
    assert read_dataset(ledger, keep_dataset(ledger, redacted)).parts == redacted.parts
    dropped = built(ledger, settings_with(tmp_path, pii="drop"))
    assert len(examples_of(dropped)) == MANY
    assert dropped.card["left_out"] == {"personal data": 1}
    kept = built(ledger, settings_with(tmp_path, pii="keep"))
    assert "I wrote to jo@example.com" in answers_in(kept).values()


def test_a_deleted_text_is_gone_from_the_dataset_and_counted(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.edit(traffic.pair(question(1)), "a secret edit")
    dataset = built(ledger, settings_with(tmp_path))
    kept = keep_dataset(ledger, dataset)
    assert b"secret" not in kept.content
    assert b"answer 10" not in kept.content
    assert read_dataset(ledger, kept).parts == dataset.parts
    victim = dataset.parts[TRAIN][0]
    forget(ledger, victim.origin.body)
    left = read_dataset(ledger, kept)
    assert left.card["gone"] == {"train": 1}
    assert victim.id not in {example.id for example in examples_of(left)}
    forget(ledger, *(example.origin.body for example in dataset.parts[TRAIN]))
    with pytest.raises(DatasetError, match="no training example left"):
        read_dataset(ledger, kept)


def test_lengths_and_the_budget_are_kept(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic, 200)
        traffic.pair("long " + question(1, length=400))
    settings = settings_with(tmp_path, max_tokens=100, token_budget=2000)
    dataset = built(ledger, settings)
    assert sum(example.tokens * example.weight for example in examples_of(dataset)) <= 2000
    assert all(example.tokens <= 100 for example in examples_of(dataset))
    assert dataset.card["left_out"][TOO_LONG] == 1
    assert dataset.card["tokens"]["exact"] is False
    assert all(prompts_in(dataset, part) for part in dataset.parts)
    exact = build_dataset(ledger, settings, TASK, count=lambda examples: [7] * len(examples))
    assert exact.card["tokens"]["exact"] is True
    assert {example.tokens for example in examples_of(exact)} == {7}


def test_a_dataset_whose_every_example_is_too_long_says_what_would_help(
    ledger: Ledger, tmp_path: Path
) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
    with pytest.raises(DatasetError, match=r"every one of 60 .* \d\d tokens.*max_tokens is 16.*raise"):
        built(ledger, settings_with(tmp_path, max_tokens=16))
    with pytest.raises(DatasetError, match="chat template of 'tiny' refuses every one of 60"):
        build_dataset(
            ledger, settings_with(tmp_path), TASK, count=lambda examples: [2**31 - 1] * len(examples)
        )


def test_a_ledger_without_usable_labels_says_what_there_is_and_what_is_missing(
    ledger: Ledger, tmp_path: Path
) -> None:
    settings = settings_with(tmp_path)
    with pytest.raises(NotEnoughEvidence, match="0 requests, 0 answers"):
        built(ledger, settings)
    with Traffic(ledger) as traffic:
        for n in range(3):
            traffic.pair(question(n), strong_good=None, small_good=False)
    with pytest.raises(NotEnoughEvidence, match=r"3 requests, 6 answers \(.*3 bad.*declare a check"):
        built(ledger, settings)
    assert new_examples(ledger, settings, TASK) == 0
    undistilled = Settings(tasks={"default": TaskSettings()})
    with pytest.raises(SettingsError, match=r"set tasks\.default\.student\.base"):
        build_dataset(ledger, undistilled, TASK, count=approximate_tokens)


def test_new_examples_are_those_that_the_last_dataset_did_not_look_at(ledger: Ledger, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, max_tokens=100)
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.pair("long " + question(1, length=400))
    assert new_examples(ledger, settings, TASK) == MANY + 1
    keep_dataset(ledger, built(ledger, settings))
    assert new_examples(ledger, settings, TASK) == 0, "what was too long is not new a second time"
    with Traffic(ledger) as traffic:
        traffic.pair(question(1000), "asked again")
        traffic.pair(question(2))
        traffic.pair(question(3), strong_good=False, small_good=False)
    assert new_examples(ledger, settings, TASK) == 1
