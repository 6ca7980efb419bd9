"""Edits as candidate training targets."""

from __future__ import annotations

import math

import pytest

from evals.edits import edits_frame, training_targets
from stepdown.ledger import Ledger
from tests.answered import answered, calls_by_tier, forget_body
from tests.evals.test_feedback import say

ON_BOTH_DATABASES = True


def test_the_newest_edit_of_each_request_is_a_target(ledger: Ledger) -> None:
    one, two = answered(ledger, "p1", "0123456789"), answered(ledger, "p2", "same")
    say(ledger, one, "edit", "first try")
    say(ledger, one, "edit", "012345678x", later_s=1)
    say(ledger, one, "thumb", "up", later_s=2)
    say(ledger, two, "edit", "same", later_s=3)
    first, second = training_targets(ledger, "default")
    assert (first.request, first.answer, first.edited) == (one, "0123456789", "012345678x")
    assert first.similarity == pytest.approx(0.9)
    assert first.call == calls_by_tier(ledger, one)["strong"]
    assert ledger.body(first.body).endswith(b'"content": "p1"}]}')
    assert (second.edited, second.similarity) == ("same", 1.0), "an answer used as it was is a target too"
    assert first.at < second.at


def test_a_blank_edit_is_no_target_and_takes_the_one_before_with_it(ledger: Ledger) -> None:
    request = answered(ledger)
    say(ledger, request, "edit", "better")
    say(ledger, request, "edit", " \n", later_s=1)
    say(ledger, answered(ledger, task="other"), "edit", "of another task")
    assert list(training_targets(ledger, "default")) == []


def test_an_edit_is_a_target_even_when_the_answer_is_gone(ledger: Ledger) -> None:
    gone, never = answered(ledger, "p1", "some answer"), answered(ledger, "p2", None)
    forget_body(ledger, calls_by_tier(ledger, gone)["strong"])
    say(ledger, gone, "edit", "mine")
    say(ledger, never, "edit", "mine too", later_s=1)
    targets = list(training_targets(ledger, "default"))
    assert [(t.request, t.answer, t.similarity) for t in targets] == [(gone, None, None), (never, None, None)]
    assert targets[1].call is None


def test_the_table_has_a_row_a_target(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.edits.CHUNK", 2)
    assert list(edits_frame(ledger, "default")["request"]) == []
    requests = [answered(ledger, f"p{n}", f"answer {n}") for n in range(5)]
    for number, request in enumerate(requests):
        say(ledger, request, "edit", f"answer {number}!", later_s=number)
    forget_body(ledger, calls_by_tier(ledger, requests[4])["strong"])
    frame = edits_frame(ledger, "default")
    assert list(frame["request"]) == requests
    assert frame["similarity"][0] == pytest.approx(8 / 9)
    assert math.isnan(frame["similarity"][4])
    assert str(frame["at"].dtype).startswith("datetime64")
