"""A student is asked held-out prompts of live traffic: which, how often, and what if it cannot answer."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from sqlalchemy import select

from distill.evaluation import ask_student, asking
from distill.evaluation.asking import AskedCounts
from stepdown.errors import OutOfBudget, ServingError, SettingsError
from stepdown.ids import now
from stepdown.ledger import schema
from stepdown.records import Reason, Role, Tier
from stepdown.students import served_name
from tests import fakes
from tests.distill.evaluation.live import TASK, Live, with_worker

ON_BOTH_DATABASES = True


def ask(
    live: Live, student: str | None, *, most: int = 100, beside: bool = False, deadline: float = math.inf
) -> AskedCounts:
    settings = with_worker(live.settings, concurrency=1)  # so that the order can be seen
    return ask_student(live.ledger, settings, {}, TASK, student, most=most, beside=beside, deadline=deadline)


def test_the_newest_prompts_are_asked_each_once_and_kept_as_shadow_calls(live: Live) -> None:
    student = live.trained("one").id
    for prompt in ("a", "b", "A ", "c", "d"):
        live.asks(prompt, at=now() + timedelta(seconds=live.written))
    counts = ask(live, student, most=3)
    assert live.asked_of(student) == ["d", "c", "A "]
    assert (counts.asked, counts.answered, counts.failed, counts.before) == (3, 3, 0, 0)
    assert counts.cost_usd_micros == 3 * 10
    calls = live.ledger.rows(select(schema.calls).where(schema.calls.c.model == served_name(student)))
    assert {(call.role, call.tier, call.status, call.complete) for call in calls} == {
        (Role.SHADOW, Tier.SMALL, 200, True)
    }
    assert len(live.ledger.bodies(call.body for call in calls)) == 1  # they all say the same
    assert {call.request for call in calls} == {"r00003", "r00004", "r00005"}


def test_what_has_an_answer_is_not_asked_again(live: Live) -> None:
    student = live.trained("one").id
    for prompt in "abcd":
        live.asks(prompt, at=now())
    ask(live, student, most=2)
    counts = ask(live, student, most=4)
    assert (counts.asked, counts.before) == (2, 2)
    assert sorted(live.asked_of(student)) == list("abcd")
    assert ask(live, student, most=4).asked == 0


def test_prompts_that_it_was_trained_on_are_not_asked(live: Live) -> None:
    for prompt in ("trained", "validated", "held out"):
        live.asks(prompt)
    student = live.trained("one", {"trained": "T", "validated": "V", "held out": "E"}).id
    for prompt in ("trained", "new"):
        live.asks(prompt, at=now())
    ask(live, student)
    assert live.asked_of(student) == ["new", "held out"]
    counts = ask_student(
        live.ledger, live.settings, {}, TASK, student, most=100, held_out=False, beside=False
    )
    assert counts.asked == 2
    assert sorted(live.asked_of(student)[2:]) == ["trained", "validated"]


def test_a_merged_or_quantised_student_was_trained_on_what_the_first_was(live: Live) -> None:
    live.asks("trained")
    first = live.trained("one", {"trained": "T"})
    from stepdown.registry import Registry

    other = Registry(live.ledger).keep(
        "student", TASK, first.content, parents=(first.id, "f" * 64), settings={"form": "int8"}, summary={}
    )
    assert ask(live, other.id).asked == 0


def test_old_prompts_that_became_no_example_are_held_out_at_the_rate_of_those_that_did(live: Live) -> None:
    """Else nearly all that is asked would be what strong got wrong, which makes no example."""
    prompts = [f"hard {i}" for i in range(200)]
    for prompt in prompts:
        live.asks(prompt, strong="wrong")
    student = live.trained("one", {"easy": "T"}).id
    assert 70 < ask(live, student, most=1000).asked < 130  # test_share is a half
    for prompt in prompts:
        live.asks(prompt, at=now())  # they come again, and are no newer for that
    assert ask(live, student, most=1000).asked < 130


def test_turns_of_a_conversation_that_it_was_trained_on_are_not_asked(live: Live) -> None:
    from distill.dataset.example import Source
    from distill.dataset.kept import Content, Row
    from stepdown.registry import Registry

    first = live.asks("turn one", conversation="talk")
    row = Row("train", Source.CHECKED, "b", None, None, first, "hash", "g", None, 1.0, 9, None)
    registry = Registry(live.ledger)
    dataset = registry.keep("dataset", TASK, Content(rows=[row]).to_bytes(), settings={}, summary={})
    made = live.trained("one")
    student = registry.keep(
        "student", TASK, made.content, parents=(dataset.id,), settings={"of": "two"}, summary={}
    ).id
    live.asks("turn two", conversation="talk", at=now())
    live.asks("elsewhere", conversation="other", at=now())
    ask(live, student)
    assert live.asked_of(student) == ["elsewhere"]


def test_only_prompts_whose_strong_answer_owed_nothing_to_the_router(live: Live) -> None:
    live.asks("shadow")
    live.asks("explored", reason=Reason.EXPLORED)
    for reason in (Reason.ROUTED_STRONG, Reason.CONVERSATION, Reason.FALLBACK, Reason.NAMED):
        live.asks(f"by {reason}", reason=reason)
    live.asks("never answered", strong=None)
    ask(live, None)
    assert live.asked_of(None) == ["explored", "shadow"]


def test_a_body_that_is_gone_and_a_request_that_is_not_for_small_are_counted(live: Live) -> None:
    live.asks("gone", kept=False)
    live.asks("tools", fields={"tools": [{"type": "function", "function": {"name": "f"}}]})
    live.asks("plain", fields={"stream": True, "temperature": 0.5, "metadata": {"stepdown.reference": "yes"}})
    counts = ask(live, None, most=1)
    assert (counts.asked, counts.gone, counts.unroutable) == (1, 0, 0)
    (sent,) = (one.json for one in live.small.asked)
    assert sent == {"messages": [{"role": "user", "content": "plain"}], "temperature": 0.5, "model": "tiny"}
    counts = ask(live, None, most=10)
    assert (counts.asked, counts.gone, counts.unroutable) == (0, 1, 1)
    live.model = {"capabilities": ("tools",)}
    assert ask(live, None).asked == 1


def test_the_student_in_service_is_asked_beside_it_what_it_has_not_answered(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = live.trained("old", {"old's own": "T"}).id, live.trained("new").id
    live.in_service(old)
    for prompt in ("a", "b", "c", "old's own"):
        name = live.asks(prompt, at=now())
        if prompt == "b":
            live.answered(name, served_name(old), "yes")
    monkeypatch.setattr(asking, "TIMED", 0)
    counts = ask(live, new, beside=True)
    assert live.asked_of(new) == ["c", "b", "a"]
    assert live.asked_of(old) == ["c", "a"]
    assert (counts.asked, counts.beside) == (3, 2)
    assert live.asked_of(None) == []


def test_the_first_prompts_are_put_to_both_at_once_so_that_both_are_timed_alike(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = live.trained("new").id
    for prompt in "abc":
        live.answered(live.asks(prompt, at=now()), "tiny", "yes")
    monkeypatch.setattr(asking, "TIMED", 2)
    assert ask(live, student, beside=True).beside == 2
    assert live.asked_of(None) == ["c", "b"]
    assert ask(live, student, beside=True).beside == 0


def test_at_the_deadline_it_stops_and_goes_on_later(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    for prompt in "abcd":
        live.asks(prompt)
    clock = iter(range(1000))
    monkeypatch.setattr(asking, "CLOCK", lambda: float(next(clock)))
    with pytest.raises(OutOfBudget, match=r"2 of 2 prompts answered.*is kept"):
        ask(live, None, deadline=2.0)
    assert len(live.asked_of(None)) == 2
    assert ask(live, None).asked == 2
    live.asks("e")
    with pytest.raises(OutOfBudget):
        ask(live, None, deadline=0.0)
    assert ask(live, None).asked == 1
    assert ask(live, None, deadline=0.0).asked == 0  # nothing was left to be late for


def test_a_prompt_that_it_refuses_is_counted_and_harms_no_other(live: Live) -> None:
    live.answer = lambda model, prompt: fakes.error(400, "too long") if prompt == "b" else fakes.plain("yes")
    for prompt in "abcd":
        live.asks(prompt)
    counts = ask(live, None)
    assert (counts.asked, counts.answered, counts.failed) == (4, 3, 1)
    assert counts.error is not None
    assert "too long" in counts.error


def test_prompts_that_it_always_refuses_do_not_count_as_silence_when_they_alone_are_left(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AWAY_AFTER", 2)
    live.answer = lambda model, prompt: (
        fakes.error(400, "too long") if prompt in "bcd" else fakes.plain("yes")
    )
    for prompt in "abcdefg":
        live.asks(prompt)
    assert ask(live, None).answered == 4
    again = ask(live, None)
    assert (again.asked, again.failed, again.before) == (3, 3, 4)


def test_a_server_that_fails_is_left_alone_and_the_failure_is_on_record(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AWAY_AFTER", 2)
    live.answer = lambda model, prompt: fakes.error(404, "no such adapter")
    for prompt in "abcd":
        live.asks(prompt)
    with pytest.raises(ServingError, match=r"'small' did not answer: 0 of 2 .* no such adapter"):
        ask(live, None)
    failed = live.ledger.rows(select(schema.calls).where(schema.calls.c.status == 404))
    assert len(failed) == 2
    live.answer = lambda model, prompt: fakes.plain("yes")
    assert ask(live, None).answered == 4


def test_a_task_that_is_not_declared_or_has_no_small_model_is_refused(live: Live) -> None:
    with pytest.raises(SettingsError, match="'nope' is not declared"):
        ask_student(live.ledger, live.settings, {}, "nope", None, most=1)
