"""What an item shows and what a verdict means, without any I/O."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.people.item import (
    LOST,
    PAIR_VERDICTS,
    WON,
    Answers,
    answers_of,
    item_id,
    request_in,
    shown_order,
)
from router.people.item import given as meaning_of
from router.people.votes import Vote, contradict, enough, newest
from stepdown.ids import new_id, now
from stepdown.records import Role, Tier, Verdict
from tests.records import a_call

NAMES = st.text(min_size=1, max_size=20)


@given(NAMES, NAMES, st.sampled_from(PAIR_VERDICTS))
def test_a_verdict_means_the_same_whatever_the_order(one: str, other: str, said: str) -> None:
    answers = Answers(new_id(), new_id())
    orders = {person: shown_order(person, answers) for person in (one, other)}
    for person, order in orders.items():
        assert sorted(order) == sorted(answers.calls.values())
        assert order == shown_order(person, answers)
        won = meaning_of("a", person, answers)
        assert (won[order[0]], won[order[1]]) == (WON, LOST)
        assert set(meaning_of(said, person, answers)) == set(order)  # type: ignore[arg-type]


def test_the_order_is_a_throw_of_a_coin_over_people_and_over_items() -> None:
    answers = Answers("strong-call", "small-call")
    over_people = [shown_order(f"person {n}", answers)[0] for n in range(400)]
    over_items = [shown_order("ada", Answers(f"s{n}", f"t{n}"))[0][0] for n in range(400)]
    assert 150 <= over_people.count("strong-call") <= 250
    assert 150 <= over_items.count("s") <= 250


def test_the_id_names_the_request_and_the_very_answers() -> None:
    request, one, other = new_id(), Answers("x", "y"), Answers("x", "z")
    assert request_in(item_id(request, one)) == request
    assert len({item_id(request, a) for a in (one, other, Answers("x"), Answers(None, "x"))}) == 4
    for call in ("x", "y"):
        assert call not in item_id("", one)


def test_the_newest_whole_answer_of_each_tier_is_shown() -> None:
    at = now()
    old = a_call(body="1", at=at)
    escalated = a_call(body="2", at=at + timedelta(seconds=1), role=Role.ESCALATION)
    failed = a_call(body="3", at=at + timedelta(seconds=2), status=500)
    candidate = a_call(body="4", at=at + timedelta(seconds=3), role=Role.CANDIDATE)
    small = a_call(body="5", tier=Tier.SMALL, role=Role.SHADOW)
    broken = a_call(body="6", tier=Tier.SMALL, at=at + timedelta(seconds=9), complete=False)
    shown = answers_of([candidate, broken, failed, escalated, old, small])
    assert shown == Answers(escalated.id, small.id)
    assert (shown.kind, answers_of([old]).kind, answers_of([failed]).calls) == ("pair", "single", {})


def vote(person: str, verdict: Verdict, subject: str = "c", version: str = "1") -> Vote:
    return Vote(subject, person, version, now(), verdict)


def test_enough_people_are_as_many_as_asked_and_one_more_where_they_contradict() -> None:
    ada, bob, cy = (
        vote(f"person:{n}", v) for n, v in (("ada", Verdict.GOOD), ("bob", Verdict.BAD), ("cy", Verdict.GOOD))
    )
    assert not enough([], 1)
    assert enough([ada], 1)
    assert not enough([ada, bob], 2)
    assert enough([ada, bob, cy], 2)
    assert enough([ada, cy], 2)
    assert not enough([vote("person:ada", Verdict.UNSCORED)], 1)
    assert not enough([vote("check:number", Verdict.GOOD)], 1)
    changed = vote("person:bob", Verdict.GOOD, version="2")
    assert enough([ada, bob, changed], 2), "a changed mind is no contradiction"


def test_good_of_one_answer_and_bad_of_another_is_no_contradiction() -> None:
    assert not contradict([vote("a", Verdict.GOOD, "c"), vote("b", Verdict.BAD, "d")])
    assert contradict([vote("a", Verdict.GOOD, "c"), vote("b", Verdict.BAD, "c")])
    same = [vote("a", Verdict.BAD), vote("a", Verdict.GOOD, version="2")]
    assert [v.version for v in newest(reversed(same))] == ["2"]
