"""Patience: when a question is put again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judge.combine import Part
from evals.judge.history import (
    LONGEST_WAIT,
    MOST_ROUNDS,
    ROUNDS,
    History,
    answered_between,
    call_id,
    key_of,
    named,
    new_round,
    question_id,
    read_histories,
)
from evals.judge.verdict import Opinion, Unreadable
from stepdown.ledger import Body, Ledger
from stepdown.records import Role
from tests.evals.judge.judging import verdict
from tests.records import a_call
from tests.traffic import completion_body

ON_BOTH_DATABASES = True
AT = datetime(2026, 11, 1, tzinfo=UTC)
KEY = "k" * 24


def failed(minutes: list[int]) -> History:
    return History(failures=[AT + timedelta(minutes=m) for m in minutes])


@pytest.mark.parametrize(("failures", "wait"), [([0], 1), ([0, 1], 4), ([0, 1, 5], 16), ([0] * 9, 60)])
def test_the_wait_grows_to_an_hour(failures: list[int], wait: int) -> None:
    history = failed(failures)
    over = history.failures[-1] + timedelta(minutes=wait)
    assert not history.may_try(over - timedelta(seconds=1))
    assert history.may_try(over)


@given(st.integers(0, 200))
def test_no_wait_is_longer_than_the_longest(failures: int) -> None:
    assert failed([0] * failures).may_try(AT + LONGEST_WAIT)


def test_a_question_is_given_up_after_some_rounds_in_which_others_were_answered() -> None:
    assert not failed([0] * (ROUNDS - 1)).hopeless(True)
    assert failed([0] * ROUNDS).hopeless(True)
    assert not failed([0] * (MOST_ROUNDS - 1)).hopeless(False)
    assert failed([0] * MOST_ROUNDS).hopeless(False)


def test_ids_say_which_question_they_put() -> None:
    question = question_id(KEY, Part(15, True))
    call = call_id(question, new_round(), 4)
    assert len(call) <= 64
    assert key_of(question) == key_of(call) == KEY
    found = named(call)
    assert found is not None
    assert (found.key, found.part) == (KEY, "15s")
    assert named("018f3c9e-0000-7000-8000-000000000000") is None
    assert new_round() != new_round()


def test_what_came_of_a_judgement_is_read_from_its_calls(ledger: Ledger) -> None:
    def call(part: str, round_: str, minute: int, text: str | None, attempt: int = 0, **more: object) -> None:
        body = Body.of(completion_body(text or "?"))
        values = (
            {"status": 200, "complete": True, "error": None} if text else {"status": 429, "error": "busy"}
        )
        ledger.append(
            [
                body,
                a_call(
                    id=call_id(f"{KEY}.{part}", round_, attempt),
                    request="r",
                    role=Role.JUDGE,
                    model="referee",
                    at=AT + timedelta(minutes=minute),
                    body=body.digest,
                    finish_reason="stop",
                    **{**values, **more},
                ),
            ]
        )

    call("1", "a", 0, None)
    call("1", "b", 1, verdict("A"))
    call("1", "c", 2, verdict("B"))  # a second answer to the same question: the first counts
    call("1s", "d", 3, None, 0)
    call("1s", "d", 4, None, 1)
    call("1s", "e", 5, verdict("A"), error="sent no chat completion")
    call("2", "f", 6, "prose")
    call("2s", "g", 7, None)
    ledger.append([a_call(request="r", role=Role.JUDGE)])  # a picker's, of which nothing is known here
    history = read_histories(ledger, "pairwise", {KEY: "r", "other": "s"})[KEY]
    assert history.opinions["1"] == Opinion("A", "because")
    assert isinstance(history.opinions["2"], Unreadable)
    assert set(history.opinions) == {"1", "2"}
    assert history.failures == [AT + timedelta(minutes=4), AT + timedelta(minutes=5)]  # two rounds of 1s
    assert history.error == "busy"
    minute = timedelta(minutes=1)
    assert answered_between(ledger, "referee", AT, AT + minute)
    assert not answered_between(ledger, "referee", AT + 3 * minute, AT + 5 * minute)
    assert not answered_between(ledger, "another", AT, AT + minute)


def test_an_answer_whose_body_is_gone_is_unreadable(ledger: Ledger) -> None:
    ledger.append([a_call(id=f"{KEY}.1.a.0", request="r", role=Role.JUDGE, body="0" * 64)])
    opinion = read_histories(ledger, "single", {KEY: "r"})[KEY].opinions["1"]
    assert isinstance(opinion, Unreadable)
    assert "retention" in opinion.why
