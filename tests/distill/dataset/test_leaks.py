"""Nothing leaks from one part of a dataset into another, or from a suite into any, on any night."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete

from distill.dataset import (
    TEST,
    TRAIN,
    VALIDATION,
    keep_dataset,
)
from distill.dataset.assemble import IN_SUITE, LINKED_SUITE, NEAR_DUPLICATE, NEAR_SUITE
from stepdown.errors import SuiteError
from stepdown.ledger import Ledger, schema
from tests.distill.dataset.traffic import (
    ALL_TRAIN,
    MANY,
    Traffic,
    answers_in,
    built,
    examples_of,
    fill,
    prompts_in,
    question,
    settings_with,
    write_suite,
)

ON_BOTH_DATABASES = True


def test_no_planted_leak_survives(ledger: Ledger, tmp_path: Path) -> None:
    """Every kind of leak, planted many times; and what would leak into a suite is out altogether."""
    asked = "Please explain " + question(1, length=20)
    suite = write_suite(
        tmp_path,
        [
            {"messages": [{"role": "user", "content": asked}]},
            {"messages": [{"role": "user", "content": question(2)}]},
        ],
    )
    general_suite = write_suite(tmp_path, [{"prompt": question(3)}], "general")
    linked: list[tuple[str, ...]] = []
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.pair(asked.upper().replace(" ", "  "))
        traffic.pair(asked.replace("Please explain", "Please now explain"))
        traffic.pair(question(2), conversation="with-a-case")
        traffic.pair(question(4), conversation="with-a-case")
        traffic.pair(question(3))
        for n in range(100, 140):
            one, two, three = question(n), question(n + 200), question(n + 400, length=20)
            turns = [{"role": "user", "content": question(n + 600)}]
            traffic.pair(turns)
            turns.append({"role": "assistant", "content": "said"})
            turns.append({"role": "user", "content": question(n + 800)})
            traffic.pair(turns)
            traffic.pair(one, conversation=f"c{n}")
            traffic.pair(two, conversation=f"c{n}")
            traffic.pair(three)
            traffic.pair(three + " And be brief about it, please.")
            linked += [
                (one, two),
                (three, three + " And be brief about it, please."),
                (question(n + 600), question(n + 800)),
            ]
    settings = settings_with(
        tmp_path, suites=[suite], general_suite=general_suite, test_share=0.3, validation_share=0.3
    )
    dataset = built(ledger, settings)
    placed = {part: prompts_in(dataset, part) for part in dataset.parts}
    for questions in linked:
        assert sum(bool(set(questions) & there) for there in placed.values()) == 1, questions
    assert all(placed.values())
    everything = {prompt.casefold() for prompt in prompts_in(dataset)}
    for leaked in (asked, asked.replace("Please explain", "Please now explain"), *map(question, (2, 3, 4))):
        assert leaked.casefold() not in everything
    assert dataset.card["leaks_removed"] == {IN_SUITE: 3, NEAR_SUITE: 1, LINKED_SUITE: 1}
    assert set(dataset.card["made_from"]["suites"]) == {suite, general_suite}


def test_the_same_conversation_id_of_two_callers_is_two_conversations(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        for n in range(MANY):
            traffic.pair(question(n), conversation="1", tenant=f"{n:016d}")
    dataset = built(ledger, settings_with(tmp_path))
    assert len({example.group for example in examples_of(dataset)}) == MANY


def test_a_suite_that_cannot_be_read_is_an_error(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
    with pytest.raises(SuiteError, match="nowhere"):
        built(ledger, settings_with(tmp_path, suites=[str(tmp_path / "nowhere.toml")]))


def test_of_near_duplicates_one_is_kept_and_turns_of_a_conversation_are_none(
    ledger: Ledger, tmp_path: Path
) -> None:
    past = [{"role": "user", "content": question(1, length=60)}, {"role": "assistant", "content": "yes"}]
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.pair([*past, {"role": "user", "content": "And in winter, what would be there?"}])
        traffic.pair([*past, {"role": "user", "content": "Who found that out first of all?"}])
        long = question(2, length=30)
        traffic.pair(long, "older")
        traffic.edit(traffic.pair(long.replace("Number", "number:"), "newer"), "used")
        traffic.pair(long + " ?", "newest")
    dataset = built(ledger, settings_with(tmp_path))
    answers = answers_in(dataset)
    assert len(answers) == MANY + 3
    assert "used" in answers.values()
    assert not {"older", "newer", "newest"} & set(answers.values())
    assert dataset.card["left_out"] == {NEAR_DUPLICATE: 2}


def test_of_one_question_asked_every_day_one_is_kept(ledger: Ledger, tmp_path: Path) -> None:
    rules = (
        "You are the shop's assistant. Answer in one short sentence and be polite. Today is day {} of June."
    )
    with Traffic(ledger) as traffic:
        fill(traffic, 20)
        for day in range(10, 22):
            asked = [
                {"role": "system", "content": rules.format(day)},
                {"role": "user", "content": question(1)},
            ]
            traffic.pair(asked, f"answer of day {day}")
    dataset = built(ledger, settings_with(tmp_path, **ALL_TRAIN))
    said = [str(example.messages[-1]["content"]) for example in dataset.parts[TRAIN]]
    assert [text for text in said if "of day" in text] == ["answer of day 21"]
    assert dataset.card["left_out"][NEAR_DUPLICATE] == 11


def test_what_is_like_a_held_out_prompt_is_not_trained_on_though_that_has_no_label_any_more(
    ledger: Ledger, tmp_path: Path
) -> None:
    general = tmp_path / "general.jsonl"
    settings = settings_with(tmp_path, test_share=0.3, validation_share=0.3)
    with Traffic(ledger) as traffic:
        fill(traffic)
    first = built(ledger, settings)
    keep_dataset(ledger, first)
    held_out = sorted(prompts_in(first, TEST, VALIDATION))
    assert len(held_out) > 20
    with ledger.writing() as connection:
        connection.execute(delete(schema.labels))
    lines = [*held_out[:5], *(f"{text} Tell me." for text in held_out[5:20]), question(7)]
    rows = [
        {"messages": [{"role": "user", "content": line}, {"role": "assistant", "content": "g"}]}
        for line in lines
    ]
    general.write_text("\n".join(map(json.dumps, rows)))
    with Traffic(ledger) as traffic:
        fill(traffic, 40, first=3000)
        for text in held_out[20:]:
            traffic.pair(f"{text} Tell me.", "like one that was held out")
    settings = settings_with(tmp_path, general=str(general), replay_share=0.9, **ALL_TRAIN)
    second = built(ledger, settings)
    assert prompts_in(second, TRAIN) == {question(n) for n in (7, *range(3000, 3040))}


def test_what_was_held_out_stays_so_while_traffic_grows_and_groups_meet(
    ledger: Ledger, tmp_path: Path
) -> None:
    settings = settings_with(tmp_path, test_share=0.3, validation_share=0.3)
    with Traffic(ledger) as traffic:
        fill(traffic, 90)
    first = built(ledger, settings)
    keep_dataset(ledger, first)
    train, test = sorted(prompts_in(first, TRAIN)), sorted(prompts_in(first, TEST))
    validation = sorted(prompts_in(first, VALIDATION))
    with Traffic(ledger) as traffic:
        for a, b in zip(train[:10], test[:10], strict=True):  # one conversation has both now
            traffic.pair(a, "again", conversation=f"c {a}")
            traffic.pair(b, "again", conversation=f"c {a}")
        for n in range(2000, 2060):
            traffic.pair(question(n))
    second = built(ledger, settings)
    keep_dataset(ledger, second)
    assert set(test) <= prompts_in(second, TEST)
    assert set(validation) <= prompts_in(second, VALIDATION)
    assert not prompts_in(second, TRAIN) & {*test, *validation, *train[:10]}
    assert not prompts_in(second) & set(train[:10]), "trained on before, so no clean test either"
    third = built(ledger, settings_with(tmp_path, **ALL_TRAIN, seed=9))
    assert not prompts_in(third, TRAIN) & {*test, *validation}
