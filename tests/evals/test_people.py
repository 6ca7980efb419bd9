"""People's labels as a table, and where they contradict one another."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from evals.people import contradictions, people_frame
from router.people.item import Said, answers_of, item_id, shown_order
from router.people.verdicts import Statement, keep_verdict
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings
from tests.answered import answered, calls_by_tier
from tests.records import a_label
from tests.router.ledgers import calls_of

ON_BOTH_DATABASES = True
TASKS = {"default": TaskSettings(annotators=9)}


def say(ledger: Ledger, request: str, annotator: str, said: str) -> None:
    """Have a person say `strong`, `small`, or a word of the desk's own."""
    answers = answers_of(calls_of(ledger, request))
    letter_of = dict(zip(shown_order(annotator, answers), ("a", "b"), strict=False))
    words: dict[str, Any] = {tier.value: letter_of[call] for tier, call in answers.calls.items()}
    word: Said = words.get(said, said)
    keep_verdict(ledger, TASKS, Statement(item_id(request, answers), annotator, word))


def test_one_row_a_request_and_person(ledger: Ledger) -> None:
    pair, single = answered(ledger, "p", small="small says"), answered(ledger, "q")
    said = [(pair, "ada", "strong"), (pair, "bob", "small"), (pair, "cy", "tie"), (pair, "di", "bad")]
    said += [(single, "ada", "good"), (single, "bob", "bad")]
    for request, annotator, verdict in said:
        say(ledger, request, annotator, verdict)
    frame = people_frame(ledger, "default")
    assert list(zip(frame["request"], frame["annotator"], frame["verdict"], strict=True)) == said
    assert list(frame["kind"]) == ["pair"] * 4 + ["single"] * 2
    assert list(frame["strong_good"]) == [1, 0, 1, 0, 1, 0]
    assert list(frame["small_good"])[:4] == [0, 1, 1, 0]
    assert frame["small_good"][4:].isna().all()
    assert frame["at"].is_monotonic_increasing
    assert frame["prompt_hash"].nunique() == 2


@pytest.mark.parametrize("verdict", ["strong", "small", "tie", "bad"])
def test_a_verdict_survives_the_blind_order(ledger: Ledger, verdict: str) -> None:
    request = answered(ledger, small="small says")
    people = [f"person {number}" for number in range(8)]
    for person in people:
        say(ledger, request, person, verdict)
    frame = people_frame(ledger, "default")
    assert list(frame["verdict"]) == [verdict] * len(people)
    assert contradictions(frame).empty


def test_the_newest_counts_and_who_skips_has_said_nothing(ledger: Ledger) -> None:
    request = answered(ledger, small="small says")
    for verdict in ("strong", "skip", "small"):
        say(ledger, request, "ada", verdict)
    say(ledger, request, "bob", "tie")
    say(ledger, request, "bob", "skip")
    frame = people_frame(ledger, "default")
    assert list(zip(frame["annotator"], frame["verdict"], strict=True)) == [("ada", "small")]


def test_other_labellers_and_tasks_are_left_out(ledger: Ledger) -> None:
    request, other = answered(ledger), answered(ledger, task="other")
    ledger.append([a_label(subject=calls_by_tier(ledger, request)["strong"])])
    say(ledger, other, "ada", "good")
    assert people_frame(ledger, "default").empty
    assert contradictions(people_frame(ledger, "default")).empty
    assert list(people_frame(ledger, "other")["annotator"]) == ["ada"]


def test_a_later_label_of_one_answer_only_joins_what_was_said_of_the_other(ledger: Ledger) -> None:
    request = answered(ledger, small="small says")
    say(ledger, request, "ada", "strong")
    small = calls_by_tier(ledger, request)["small"]
    later = now() + timedelta(seconds=1)
    ledger.append([a_label(subject=small, labeller="person:ada", version="7", at=later)])
    (row,) = people_frame(ledger, "default").to_dict("records")
    assert (row["verdict"], row["strong_good"], row["small_good"]) == ("tie", 1.0, 1.0)
    assert not math.isnan(row["at"].timestamp())


def test_contradictions_are_listed_with_who_said_what(ledger: Ledger) -> None:
    agreed, split, tied = (answered(ledger, f"p{n}", small=f"s{n}") for n in range(3))
    say(ledger, agreed, "ada", "small")
    say(ledger, agreed, "bob", "small")
    say(ledger, split, "ada", "strong")
    say(ledger, split, "bob", "small")
    say(ledger, tied, "ada", "tie")
    say(ledger, tied, "bob", "strong")
    found = contradictions(people_frame(ledger, "default"))
    assert list(found["request"]) == [split, tied]
    assert list(found["people"]) == [2, 2]
    assert list(found["verdicts"]) == ["ada: strong, bob: small", "ada: tie, bob: strong"]
    assert len(ledger.rows(schema.labels.select())) == 12
