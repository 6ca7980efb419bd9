"""The sweep: what is judged, how the judge may fail, and that nothing is asked, or paid for, twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from evals.answers import upload_answers
from evals.judge import asking, history, sitting
from evals.judge.sweep import first_unjudged
from router import ask
from stepdown.ledger import Ledger, schema
from stepdown.ledger.lock import alone
from stepdown.records import Role
from stepdown.settings import Settings
from tests.evals.judge.judging import (
    evidence,
    first_wins,
    judge_calls,
    judge_model,
    labels,
    longer_wins,
    quoted,
    says,
    settings_for,
    sweep,
    verdict,
)
from tests.fakes import Asked, FakeModel, Reply, error, running
from tests.traffic import answered

ON_BOTH_DATABASES = True


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once, and so do sweeps."""
    monkeypatch.setattr(ask, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(history, "FIRST_WAIT", timedelta(0))


@pytest.fixture
def referee() -> Iterator[FakeModel]:
    model = judge_model()
    with running(model):
        yield model


def test_a_pair_is_judged_in_both_orders_once(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    counts = sweep(ledger, settings)
    assert (counts.judged, counts.ties, counts.unscored, counts.cost_usd_micros) == (1, 0, 0, 220)
    assert labels(ledger) == {pair.call: ("good", 1.0), pair.shadow: ("bad", 0.0)}
    assert [quoted(asked)["ANSWER A"] for asked in referee.asked] == ["It is four.", "Five."]
    assert sweep(ledger, settings).judged == 0
    assert len(referee.asked) == 2


def test_the_judges_calls_are_on_the_requests_bill(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    sweep(ledger, settings_for(referee))
    calls = judge_calls(ledger)
    assert [(c.request, c.role, c.model, c.cost_usd_micros, c.status) for c in calls] == [
        (pair.request, Role.JUDGE, "referee-1", 110, 200)
    ] * 2
    assert {row.cost_usd_micros for row in ledger.rows(select(schema.labels))} == {0}


def test_orders_that_disagree_are_a_tie(ledger: Ledger, referee: FakeModel) -> None:
    referee.behaviour = lambda asked: says(first_wins(quoted(asked)))
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    assert sweep(ledger, settings_for(referee)).ties == 1
    assert labels(ledger) == {pair.call: ("good", 0.5), pair.shadow: ("good", 0.5)}
    assert "the two orders disagreed in 1" in evidence(ledger)[pair.call]


def test_identical_answers_tie_without_a_call(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "4", shadow="4 \n")
    assert sweep(ledger, settings_for(referee)).ties == 1
    assert labels(ledger)[pair.call] == ("good", 0.5)
    assert "identical" in evidence(ledger)[pair.call]
    assert referee.asked == []


def test_a_single_judge_marks_every_whole_answer(ledger: Ledger, referee: FakeModel) -> None:
    referee.behaviour = lambda asked: says(
        verdict("good" if "4" in quoted(asked)["ANSWER"] else "bad", "verdict")
    )
    pair = answered(ledger, "sums", "2+2?", "4", shadow="5")
    alone_ = answered(ledger, "sums", "2+3?", "5")
    answered(ledger, "sums", "2+4?", "6", complete=False)
    answered(ledger, "other", "2+4?", "6")
    counts = sweep(ledger, settings_for(referee, kind="single"))
    assert counts.judged == 3
    assert labels(ledger) == {
        pair.call: ("good", 1.0),
        pair.shadow: ("bad", 0.0),
        alone_.call: ("bad", 0.0),
    }


def test_a_candidate_of_the_portfolio_is_no_answer_of_a_pair(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "four!", shadow="5")
    with ledger.writing() as connection:
        connection.execute(
            update(schema.calls).where(schema.calls.c.id == pair.shadow).values(role=Role.CANDIDATE)
        )
    assert sweep(ledger, settings_for(referee)).judged == 0
    assert referee.asked == []


def test_votes(ledger: Ledger, referee: FakeModel) -> None:
    said = iter(["A", "B", "prose", "A", "A", "B"])  # for strong, unscored, for strong
    referee.behaviour = lambda _: says(w if (w := next(said)) == "prose" else verdict(w))
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    assert sweep(ledger, settings_for(referee, votes=3, concurrency=1)).judged == 1
    assert labels(ledger)[pair.call] == ("good", 1.0)
    assert "2 of 2 votes" in evidence(ledger)[pair.call]


def test_prose_is_unscored_at_once_with_the_words(ledger: Ledger, referee: FakeModel) -> None:
    referee.behaviour = lambda _: says("I think that A is better.\x00")
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    assert sweep(ledger, settings).unscored == 1
    assert labels(ledger) == {pair.call: ("unscored", None), pair.shadow: ("unscored", None)}
    assert "I think that A is better" in evidence(ledger)[pair.call]
    assert sweep(ledger, settings).unscored == 0


def test_reasons_that_a_database_refuses_are_kept_without_what_it_refuses(
    ledger: Ledger, referee: FakeModel
) -> None:
    referee.behaviour = lambda asked: says(longer_wins(quoted(asked)).replace("because", "a\\u0000b\\ud800c"))
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    assert sweep(ledger, settings_for(referee)).judged == 1
    assert "a?b?c" in evidence(ledger)[pair.call]


def test_a_busy_judge_is_asked_again(ledger: Ledger, referee: FakeModel) -> None:
    refusals = iter([error(429, headers=(("retry-after", "0"),)), error(503)])
    referee.behaviour = lambda asked: next(refusals, None) or says(longer_wins(quoted(asked)))
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    assert sweep(ledger, settings_for(referee)).judged == 1
    assert sorted(call.status for call in judge_calls(ledger)) == [200, 200, 429, 503]


def test_a_question_that_always_fails_is_given_up_while_the_rest_is_judged(
    ledger: Ledger, referee: FakeModel
) -> None:
    def behaviour(asked: Asked) -> Reply:
        return error(400, "too long") if "poison" in asked.body.decode() else says(verdict("A"))

    referee.behaviour = behaviour
    settings = settings_for(referee)
    bad = answered(ledger, "sums", "poison", "It is four.", shadow="Five.")
    for number in range(history.ROUNDS):
        answered(ledger, "sums", f"{number}?", "It is four.", shadow="Five.")
        counts = sweep(ledger, settings)
        assert (counts.judged, counts.failed, counts.unscored) == (1, 1, 0)
    assert sweep(ledger, settings).unscored == 1
    assert labels(ledger)[bad.call] == ("unscored", None)
    assert "given up after 4 tries" in evidence(ledger)[bad.call]
    assert "too long" in evidence(ledger)[bad.call]


def test_a_question_is_not_given_up_while_the_judge_answers_nobody(
    ledger: Ledger, referee: FakeModel
) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    referee.behaviour = lambda _: error(500)
    for _ in range(history.ROUNDS + 2):
        assert sweep(ledger, settings).failed == 1
    referee.behaviour = lambda asked: says(longer_wins(quoted(asked)))
    assert sweep(ledger, settings).judged == 1
    assert labels(ledger)[pair.call] == ("good", 1.0)


def test_a_question_that_failed_waits_before_it_is_put_again(
    ledger: Ledger, referee: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FIRST_WAIT", timedelta(minutes=1))
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    referee.behaviour = lambda _: error(400)
    assert sweep(ledger, settings_for(referee)).failed == 1
    counts = sweep(ledger, settings_for(referee))
    assert (counts.failed, counts.waiting) == (0, 1)


def test_a_judge_that_is_down_is_left_alone(ledger: Ledger, referee: FakeModel) -> None:
    for number in range(30):
        answered(ledger, "sums", f"{number}?", "It is four.", shadow="Five.")
    referee.behaviour = lambda _: error(401, "bad key")
    counts = sweep(ledger, settings_for(referee))
    assert sitting.STOP_AFTER <= counts.failed <= sitting.STOP_AFTER + 4
    assert labels(ledger) == {}
    (note,) = counts.notes
    assert "'j'" in note
    assert "bad key" in note


def test_a_judge_that_hangs_ends_in_time_and_leaves_its_record(
    ledger: Ledger, referee: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_LIMIT_S", 0.3)
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    referee.behaviour = lambda _: Reply(head_after_s=20)
    assert sweep(ledger, settings_for(referee)).failed == 1
    (call,) = judge_calls(ledger)
    assert (call.status, call.complete) == (0, False)
    assert "no answer within" in call.error


def test_what_was_answered_before_a_failure_is_not_asked_again(ledger: Ledger, referee: FakeModel) -> None:
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    said = iter([says(verdict("A")), error(400)])
    referee.behaviour = lambda asked: next(said, None) or says(longer_wins(quoted(asked)))
    settings = settings_for(referee)
    assert sweep(ledger, settings).failed == 1
    assert sweep(ledger, settings).judged == 1
    assert len(referee.asked) == 3


def test_an_answer_that_cannot_be_read_is_unscored_and_harms_no_other(
    ledger: Ledger, referee: FakeModel
) -> None:
    gone = answered(ledger, "sums", "1?", "It is four.", shadow="gone")
    mad = answered(ledger, "sums", "2?", "", shadow="Five.", body=b"<html>")
    good = answered(ledger, "sums", "3?", "It is four.", shadow="Five.")
    table = schema.bodies
    with ledger.writing() as connection:
        calls = schema.calls
        body = select(calls.c.body).where(calls.c.id == gone.shadow).scalar_subquery()
        connection.execute(table.delete().where(table.c.digest == body))
    counts = sweep(ledger, settings_for(referee))
    assert (counts.judged, counts.unscored) == (1, 2)
    assert labels(ledger)[good.call] == ("good", 1.0)
    assert "retention" in evidence(ledger)[gone.call]
    assert "not a chat completion" in evidence(ledger)[mad.call]


def test_a_reference_guides_the_judge_and_a_new_one_makes_a_new_judgement(
    ledger: Ledger, referee: FakeModel
) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    sweep(ledger, settings)
    assert "REFERENCE" not in quoted(referee.asked[0])
    upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": "four"})])
    assert sweep(ledger, settings).judged == 1
    assert quoted(referee.asked[-1])["REFERENCE"] == "four"
    assert set(labels(ledger)) == {pair.call, pair.shadow}


def test_a_judgement_under_another_reference_than_the_one_in_force_is_not_kept(
    ledger: Ledger, referee: FakeModel
) -> None:
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")

    def meanwhile(asked: Asked) -> Reply:
        upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": "four"})])
        return says(longer_wins(quoted(asked)))

    referee.behaviour = meanwhile
    settings = settings_for(referee)
    assert sweep(ledger, settings).judged == 0
    assert len(judge_calls(ledger)) == 2  # paid for, and on the bill
    assert sweep(ledger, settings).judged == 1


def test_new_words_of_the_rubric_make_new_labels(ledger: Ledger, referee: FakeModel) -> None:
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    assert sweep(ledger, settings_for(referee)).judged == 1
    assert sweep(ledger, settings_for(referee, batch_from=7, share=0.999999)).judged == 0
    assert sweep(ledger, settings_for(referee, rubric="Be brief.")).judged == 1
    assert len(ledger.rows(select(schema.labels))) == 4


def test_only_a_share_is_judged_the_same_one_each_time(ledger: Ledger, referee: FakeModel) -> None:
    for number in range(60):
        answered(ledger, "sums", f"{number}?", "It is four.", shadow="Five.")
    settings = settings_for(referee, share=0.3)
    judged = sweep(ledger, settings).judged
    assert 5 <= judged <= 35
    assert sweep(ledger, settings).judged == 0
    assert first_unjudged(ledger, "sums", settings.tasks["sums"], settings.models) is None
    assert sweep(ledger, settings_for(referee, share=0.0)).judged == 0


def test_the_evidence_says_where_a_judge_marks_its_own_model(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    with ledger.writing() as connection:
        connection.execute(
            update(schema.calls).where(schema.calls.c.id == pair.call).values(model="referee-1")
        )
    sweep(ledger, settings_for(referee))
    assert "the judge is the model of strong" in evidence(ledger)[pair.shadow]


def test_the_oldest_first_until_the_time_is_up(ledger: Ledger, referee: FakeModel) -> None:
    pairs = [answered(ledger, "sums", f"{n}?", "It is four.", shadow="Five.") for n in range(5)]
    settings = settings_for(referee, concurrency=1)
    task = settings.tasks["sums"]

    def at(request: str) -> object:
        table = schema.requests
        return ledger.rows(select(table.c.at).where(table.c.id == request))[0].at

    assert first_unjudged(ledger, "sums", task, settings.models) == at(pairs[0].request)
    assert sweep(ledger, settings, budget_s=0).judged == 0

    class Enough(Exception):
        pass

    def stop_after_two(counts: object) -> None:
        if getattr(counts, "judged", 0) == 2:
            raise Enough

    with pytest.raises(Enough):
        sweep(ledger, settings, progress=stop_after_two)
    assert set(labels(ledger)) == {c for p in pairs[:2] for c in (p.call, p.shadow)}
    assert first_unjudged(ledger, "sums", task, settings.models) == at(pairs[2].request)
    assert first_unjudged(ledger, "sums", task) == at(pairs[2].request)
    changed = settings_for(referee, rubric="Another.").tasks["sums"]
    assert first_unjudged(ledger, "sums", changed, settings.models) == at(pairs[0].request)
    assert first_unjudged(ledger, "sums", changed) == at(pairs[2].request)


def test_a_judge_that_hangs_takes_no_time_of_the_others(ledger: Ledger, referee: FakeModel) -> None:
    pair = answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    plain = settings_for(referee)
    task = plain.tasks["sums"]
    silent = FakeModel(lambda _: Reply(head_after_s=30.0, parts=(b"{}",)))
    with running(silent):
        models = {**plain.models, "mute": silent.settings("mute-1", timeout_s=1.0)}
        judges = {"a": replace(task.judges["j"], model="mute"), **task.judges}
        settings = replace(plain, models=models, tasks={"sums": replace(task, judges=judges)})
        counts = sweep(ledger, settings, budget_s=0.5)  # over before the first has failed
    assert (counts.judged, counts.failed) == (1, 1)
    assert len([call for call in judge_calls(ledger) if call.status == 0]) == 1  # no second try
    assert set(labels(ledger)) == {pair.call, pair.shadow}


def test_two_sweeps_of_a_judge_do_not_run_at_once(ledger: Ledger, referee: FakeModel) -> None:
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    with alone(ledger, "judge sums j") as held:
        assert held
        counts = sweep(ledger, settings)
        assert counts.judged == 0
        assert "another sweep" in counts.notes[0]
    assert sweep(ledger, settings).judged == 1


def test_one_judges_missing_key_is_its_own_trouble(ledger: Ledger, referee: FakeModel) -> None:
    answered(ledger, "sums", "2+2?", "It is four.", shadow="Five.")
    settings = settings_for(referee)
    models = {**settings.models, "away": referee.settings("away", api_key_env="NOT_SET")}
    both = {
        "away": replace(settings.tasks["sums"].judges["j"], model="away"),
        **settings.tasks["sums"].judges,
    }
    task = replace(settings.tasks["sums"], judges=both)
    two: Settings = replace(settings, models=models, tasks={"sums": task})
    counts = sweep(ledger, two)
    assert counts.judged == 1
    assert "NOT_SET" in counts.notes[0]


def test_a_tool_call_is_shown_as_text(ledger: Ledger, referee: FakeModel) -> None:
    tool = {"function": {"name": "add", "arguments": '{"a":2}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [tool]}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    answered(ledger, "sums", "2+2?", "", shadow="Five.", body=body.encode())
    sweep(ledger, settings_for(referee))
    assert quoted(referee.asked[0])["ANSWER A"] == '[calls tool add with {"a":2}]'
