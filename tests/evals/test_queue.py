"""What people are asked to label: who is in the queue, in what order, and when it leaves."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from sqlalchemy import select

from evals.queue import QueueCounts, rank
from router.fitting.splits import position
from stepdown.ledger import Ledger, schema
from stepdown.records import Role, Tier, Verdict
from stepdown.settings import TaskSettings
from tests.answered import answered, call_with, calls_by_tier
from tests.evals.test_people import say
from tests.records import a_label

ON_BOTH_DATABASES = True
NO_AUDIT = TaskSettings(audit_share=0.0)
ALL_AUDIT = TaskSettings(audit_share=1.0)


def queued(ledger: Ledger, task: str = "default") -> list[Any]:
    table = schema.label_queue
    return list(ledger.rows(select(table).where(table.c.task == task).order_by(table.c.priority)))


def names(ledger: Ledger) -> list[str]:
    return [row.request for row in queued(ledger)]


def whys(ledger: Ledger) -> list[str]:
    return [row.why for row in queued(ledger)]


def label(ledger: Ledger, request: str, labeller: str, good: bool, tier: Tier = Tier.STRONG) -> None:
    verdict = Verdict.GOOD if good else Verdict.BAD
    call = calls_by_tier(ledger, request)[tier]
    ledger.append([a_label(subject=call, labeller=labeller, verdict=verdict, score=float(good))])


def disputed(ledger: Ledger, prompt: str, **more: Any) -> str:
    """A request on whose answer check and judge do not agree."""
    request = answered(ledger, prompt, **more)
    label(ledger, request, "check:number", good=True)
    label(ledger, request, "judge:strict", good=False)
    return request


def routed(ledger: Ledger, prompt: str, gain: float, threshold: float = 0.0) -> str:
    """A request that a router decided."""
    return answered(ledger, prompt, decision={"gain": gain, "threshold": threshold})


def test_the_audit_share_is_drawn_by_hash_and_served_in_its_order(ledger: Ledger) -> None:
    requests = [answered(ledger, f"p{n}") for n in range(60)]
    task = TaskSettings(audit_share=0.3)
    counts = rank(ledger, "default", task)
    places = {request: position(request, 0, "audit") for request in requests}
    sampled = sorted((r for r in requests if places[r] < 0.3), key=lambda r: places[r])
    assert names(ledger) == sampled
    assert counts == QueueCounts(audit=len(sampled))
    rank(ledger, "default", task, limit=5)
    assert names(ledger) == sampled[:5]


def test_ranking_again_changes_nothing_and_forgets_what_is_settled(ledger: Ledger) -> None:
    one, two = answered(ledger, "p1"), answered(ledger, "p2")
    rank(ledger, "default", ALL_AUDIT)
    before = [row[1:2] + row[3:] for row in queued(ledger)]
    rank(ledger, "default", ALL_AUDIT)
    assert [row[1:2] + row[3:] for row in queued(ledger)] == before
    say(ledger, one, "ada", "good")
    rank(ledger, "default", ALL_AUDIT)
    assert names(ledger) == [two]
    say(ledger, two, "ada", "skip")
    rank(ledger, "default", ALL_AUDIT)
    assert names(ledger) == [two], "who skips has said nothing"


def test_another_tasks_queue_is_left_alone(ledger: Ledger) -> None:
    answered(ledger, "p")
    answered(ledger, "q", task="other")
    rank(ledger, "default", ALL_AUDIT)
    rank(ledger, "other", ALL_AUDIT)
    rank(ledger, "default", NO_AUDIT)
    assert (queued(ledger), len(queued(ledger, "other"))) == ([], 1)


def test_labellers_who_disagree_want_a_person(ledger: Ledger) -> None:
    request = disputed(ledger, "disputed")
    agreed = answered(ledger, "agreed", small="small says")
    label(ledger, agreed, "check:number", good=True)
    label(ledger, agreed, "judge:strict", good=True)
    label(ledger, agreed, "check:number", good=False, tier=Tier.SMALL)
    users = answered(ledger, "users", small="small says")
    label(ledger, users, "feedback:thumb", good=False, tier=Tier.SMALL)
    label(ledger, users, "judge:strict", good=True, tier=Tier.SMALL)
    assert rank(ledger, "default", NO_AUDIT) == QueueCounts(disagreement=2)
    assert set(names(ledger)) == {request, users}
    pair = next(row for row in queued(ledger) if row.request == users)
    assert {"strong": pair.strong_call, "small": pair.small_call} == calls_by_tier(ledger, users)
    single = next(row for row in queued(ledger) if row.request == request)
    assert (single.strong_call is not None, single.small_call) == (True, None)


def test_the_most_evenly_split_comes_first_and_a_mind_changed_is_no_dispute(ledger: Ledger) -> None:
    lopsided = disputed(ledger, "lopsided")
    label(ledger, lopsided, "judge:kind", good=True)
    even = disputed(ledger, "even")
    disputed_then_not = disputed(ledger, "settled")
    call = calls_by_tier(ledger, disputed_then_not)["strong"]
    ledger.append([a_label(subject=call, labeller="judge:strict", version="2")])
    rank(ledger, "default", NO_AUDIT)
    assert names(ledger) == [even, lopsided]


def test_the_nearest_tenth_to_the_threshold(ledger: Ledger) -> None:
    requests = [routed(ledger, f"p{n}", gain=(n - 7) / 10 + 0.01) for n in range(20)]
    answered(ledger, "not routed")
    routed(ledger, "nothing goes to small", gain=0.0, threshold=-math.inf)
    rank(ledger, "default", NO_AUDIT)
    assert names(ledger) == [requests[7], requests[6]]
    assert whys(ledger) == ["threshold", "threshold"]


def test_one_of_any_three_is_of_the_audit_sample_as_long_as_it_lasts(ledger: Ledger) -> None:
    requests = [disputed(ledger, f"p{n}") for n in range(40)]
    for number in range(40):
        routed(ledger, f"q{number}", gain=number / 100)
    half = TaskSettings(audit_share=0.5)
    rank(ledger, "default", half)
    found = whys(ledger)
    until = len(found) - found[::-1].index("audit")
    assert found.count("audit") > 10
    assert all("audit" in found[place : place + 3] for place in range(until))
    assert {"audit", "disagreement", "threshold"} == set(found)
    why = {row.request: row.why for row in queued(ledger)}
    for request in requests:
        wanted = "audit" if position(request, 0, "audit") < 0.5 else "disagreement"
        assert why[request] == wanted, "what is sampled is asked about in the order of the sample alone"


def test_a_prompt_is_asked_about_once(ledger: Ledger) -> None:
    for _ in range(3):
        disputed(ledger, "the same")
    disputed(ledger, "  THE same ")
    newest = disputed(ledger, "the same")
    rank(ledger, "default", NO_AUDIT)
    assert names(ledger) == [newest]
    rank(ledger, "default", ALL_AUDIT)
    (sampled,) = names(ledger)
    table = schema.requests
    assert sampled == min(
        (row.id for row in ledger.rows(select(table))), key=lambda name: position(name, 0, "audit")
    )


def test_a_prompt_that_was_answered_for_one_request_is_answered_for_all(ledger: Ledger) -> None:
    one = disputed(ledger, "the same")
    say(ledger, one, "ada", "good")
    disputed(ledger, "the same")
    rank(ledger, "default", NO_AUDIT)
    assert names(ledger) == []


def test_the_sample_is_asked_about_even_where_an_unsampled_twin_was_answered(ledger: Ledger) -> None:
    ids = [f"request-{n}" for n in range(200)]
    inside = next(name for name in ids if position(name, 0, "audit") < 0.5)
    outside = next(name for name in ids if position(name, 0, "audit") >= 0.5)
    for name in (inside, outside):
        answered(ledger, "the same", id=name)
    say(ledger, outside, "ada", "good")
    rank(ledger, "default", TaskSettings(audit_share=0.5))
    assert names(ledger) == [inside]


def test_what_people_began_is_finished_before_its_twin(ledger: Ledger) -> None:
    begun = disputed(ledger, "the same")
    disputed(ledger, "the same")
    say(ledger, begun, "ada", "good")
    two_people = TaskSettings(audit_share=0.0, annotators=2)
    rank(ledger, "default", two_people)
    assert names(ledger) == [begun]


def test_contradicting_people_bring_one_more_and_no_more(ledger: Ledger) -> None:
    request = answered(ledger, small="small says")
    two_people = TaskSettings(audit_share=1.0, annotators=2)
    for person, verdict, left in (
        ("ada", "strong", [request]),
        ("bob", "small", [request]),
        ("cy", "tie", []),
    ):
        say(ledger, request, person, verdict)
        rank(ledger, "default", two_people)
        assert names(ledger) == left
    agreed = answered(ledger, "agreed", small="small says")
    for person, left in (("ada", [agreed]), ("bob", [])):
        say(ledger, agreed, person, "strong")
        rank(ledger, "default", two_people)
        assert names(ledger) == left


def test_people_who_contradict_one_another_are_a_dispute(ledger: Ledger) -> None:
    request = answered(ledger)
    say(ledger, request, "ada", "good")
    say(ledger, request, "bob", "bad")
    rank(ledger, "default", TaskSettings(audit_share=0.0, annotators=2))
    assert (names(ledger), whys(ledger)) == ([request], ["disagreement"])


def test_only_whole_answers_are_asked_about(ledger: Ledger) -> None:
    answered(ledger, "none", strong=None)
    broken = answered(ledger, "broken", strong=None)
    ledger.append(call_with(broken, Tier.STRONG, "half an ans", complete=False))
    ledger.append(call_with(broken, Tier.STRONG, "error", status=500))
    ledger.append(call_with(broken, Tier.STRONG, None))
    ledger.append(call_with(broken, Tier.STRONG, "not picked", role=Role.CANDIDATE))
    ledger.append(call_with(broken, Tier.STRONG, "of a judge", role=Role.JUDGE))
    rank(ledger, "default", ALL_AUDIT)
    assert queued(ledger) == []


def test_only_the_newest_requests_are_looked_at(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.queue.LOOKED_AT", 3)
    requests = [answered(ledger, f"p{n}") for n in range(6)]
    rank(ledger, "default", ALL_AUDIT)
    assert set(names(ledger)) == set(requests[3:])


def test_rankings_at_once_leave_one_queue(ledger: Ledger) -> None:
    requests = [answered(ledger, f"p{n}") for n in range(10)]
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(5):
                rank(ledger, "default", ALL_AUDIT)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(names(ledger)) == sorted(requests)
