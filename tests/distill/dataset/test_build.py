"""Datasets from a ledger: which answer is learnt, that nothing leaks, and that the card says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete

from distill.dataset import (
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    approximate_tokens,
    build_dataset,
    keep_dataset,
    new_examples,
    read_dataset,
)
from distill.dataset.assemble import IN_SUITE, LINKED_SUITE, NEAR_DUPLICATE, NEAR_SUITE, OVER_BUDGET, TOO_LONG
from stepdown.errors import DatasetError, NotEnoughEvidence, SettingsError, SuiteError
from stepdown.ids import digest
from stepdown.ledger import Body, Ledger, schema
from stepdown.records import Reason, Role, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from tests.distill.dataset.traffic import (
    SMALL,
    STRONG,
    TASK,
    Traffic,
    answers_in,
    built,
    examples_of,
    forget,
    prompts_in,
    question,
    settings_with,
    write_suite,
)
from tests.fakes import completion

ON_BOTH_DATABASES = True
MANY = 60
A_ROUND = {"confidence": 0.95}
ALL_TRAIN: dict[str, Any] = {"test_share": 0.0, "validation_share": 0.0}


def fill(traffic: Traffic, number: int = MANY, *, first: int = 1000) -> None:
    for n in range(first, first + number):
        traffic.pair(question(n), f"answer {n}")


def sides(ledger: Ledger, settings: Settings, *questions: str) -> set[str]:
    """The parts in which some questions are."""
    dataset = built(ledger, settings)
    return {part for part in dataset.parts if prompts_in(dataset, part) & set(questions)}


def test_the_best_known_answer_of_each_query_is_learnt(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        edited = traffic.pair(question(1), "right")
        traffic.edit(edited, "what the user made of it")
        traffic.pair(question(2), "checked strong", "checked small")
        traffic.pair(question(3), "wrong strong", "checked small", strong_good=False)
        for n in range(2000, 2060):  # whose verdicts say how far the judge can be trusted
            call = traffic.answer(traffic.ask(question(n)), "shown", good=n % 2 == 0)
            traffic.records.append(traffic.label(call, n % 2 == 0, "judge:fair"))
        judged = traffic.ask(question(4))
        traffic.answer(judged, "judged strong", labeller="judge:fair")
        traffic.pair(question(5), "wrong", "wrong too", strong_good=False, small_good=False)
        traffic.pair(question(6), "unlabelled", "unlabelled too", strong_good=None, small_good=None)
    dataset = built(ledger, settings_with(tmp_path))
    answers = answers_in(dataset)
    assert [answers.get(question(n)) for n in range(1, 7)] == [
        "what the user made of it",
        "checked strong",
        "checked small",
        "judged strong",
        None,
        None,
    ]
    sources = {example.messages[-2]["content"]: example.source for example in examples_of(dataset)}
    assert [sources[question(n)] for n in range(1, 5)] == [
        Source.EDIT,
        Source.CHECKED,
        Source.CHECKED_SMALL,
        Source.JUDGED,
    ]
    assert dataset.card["teachers"] == {STRONG: MANY + 32, SMALL: 1, f"users' edits of {STRONG}": 1}
    assert "api.example.com" in dataset.card["licences"][STRONG]


def test_what_broke_off_or_refused_is_never_learnt_and_the_next_best_is(
    ledger: Ledger, tmp_path: Path
) -> None:
    stopped = completion("cut").replace(b'"stop"', b'"length"')
    refused = completion("").replace(b'"content": ""', b'"content": null, "refusal": "No."')
    with Traffic(ledger) as traffic:
        fill(traffic)
        for number, changes in enumerate(
            (
                {"text": "cut", "finish_reason": "length"},
                {"text": stopped},
                {"text": "gone half way", "complete": False},
                {"text": "failed", "status": 500},
                {"text": refused},
                {"text": "I'm sorry, but I cannot help with that."},
                {"text": "   "},
            )
        ):
            request = traffic.ask(question(number))
            traffic.answer(request, **changes)  # type: ignore[arg-type]
            if number % 2:
                traffic.answer(request, "the small one's", tier=Tier.SMALL)
    answers = answers_in(built(ledger, settings_with(tmp_path)))
    assert [answers.get(question(n)) for n in range(7)] == [None, "the small one's"] * 3 + [None]


def test_an_edit_that_left_a_bad_answer_as_it_was_is_not_learnt(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.edit(traffic.pair(question(1), "bad", strong_good=False, small_good=False), "bad")
        traffic.edit(traffic.pair(question(2), "bad", strong_good=False, small_good=False), "mended")
    answers = answers_in(built(ledger, settings_with(tmp_path)))
    assert (answers.get(question(1)), answers.get(question(2))) == (None, "mended")


def test_what_only_a_tossed_coin_calls_good_is_not_learnt(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        for n in range(20):
            request = traffic.ask(question(n))
            call = traffic.answer(request, "disputed", labeller="judge:one")
            traffic.records.append(traffic.label(call, False, "judge:two"))
    dataset = built(ledger, settings_with(tmp_path))
    assert "disputed" not in answers_in(dataset).values()
    assert dataset.card["known"]["prompts"] == MANY


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


def test_what_was_hard_counts_more(ledger: Ledger, tmp_path: Path) -> None:
    with Traffic(ledger) as traffic:
        fill(traffic)
        traffic.pair(question(1), small_good=False)
        traffic.pair(question(2), reason=Reason.FALLBACK)
        escalated = traffic.ask(question(3))
        traffic.answer(escalated, "small", tier=Tier.SMALL, good=None)
        traffic.answer(escalated, "strong", role=Role.ESCALATION)
        relearnt = traffic.pair(question(4), small_good=False)
        traffic.answer(relearnt, "a newer student's", tier=Tier.SMALL)
    dataset = built(ledger, settings_with(tmp_path, hard_weight=2.5, **ALL_TRAIN))
    weights = {example.messages[-2]["content"]: example.weight for example in dataset.parts[TRAIN]}
    assert [weights[question(n)] for n in range(1, 5)] == [2.5, 2.5, 2.5, 1.0]
    assert dataset.card["weights"]["why"] == {"regretted": 1, "fell back": 1, "escalated": 1}
    assert MANY + 7 <= dataset.card["weights"]["in_an_epoch"] <= MANY + 10


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


def test_tools_and_turns_are_kept_and_images_are_not(ledger: Ledger, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    called_with = {"name": "look", "arguments": '{"at": 1}'}
    calls = json.dumps(
        {
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "tool_calls",
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "a", "type": "function", "function": called_with}],
                    },
                }
            ]
        }
    ).encode()
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with Traffic(ledger) as traffic:
        fill(traffic)
        called = traffic.ask(question(1), fields={"tools": [tool]})
        traffic.answer(called, calls)
        traffic.pair([{"role": "user", "content": [{"type": "text", "text": question(2)}, image]}])
        traffic.pair([{"role": "user", "content": [{"type": "text", "text": question(3)}]}])
    dataset = built(ledger, settings_with(tmp_path))
    (example,) = [e for e in examples_of(dataset) if e.request == called]
    assert example.tools == [tool]
    assert example.messages[-1]["tool_calls"][0]["function"] == called_with
    assert question(3) in prompts_in(dataset)
    assert dataset.card["left_out"] == {"images, audio or files in the request": 1}
