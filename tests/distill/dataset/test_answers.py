"""Which answers of the traffic are learnt, and which are not."""

from __future__ import annotations

import json
from pathlib import Path

from distill.dataset import (
    TRAIN,
    Source,
)
from stepdown.ledger import Ledger
from stepdown.records import Reason, Role, Tier
from tests.distill.dataset.traffic import (
    ALL_TRAIN,
    MANY,
    SMALL,
    STRONG,
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
