"""Labels from feedback: of the answer that was received, by the newest of each kind, once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from evals.feedback import FAILED, SUCCEEDED, label_feedback, of_outcome
from evals.labelling import LabelCounts
from router.people.votes import Vote, newest
from stepdown.errors import LedgerError
from stepdown.ids import digest, new_id, now
from stepdown.ledger import Ledger
from stepdown.records import Feedback, Role, Tier
from stepdown.settings import TaskSettings
from tests.answered import answered, call_with, calls_by_tier, forget_body, labels_in

ON_BOTH_DATABASES = True
TASKS = {"default": TaskSettings()}


def say(ledger: Ledger, request: str, kind: str, value: Any, *, later_s: float = 0) -> str:
    """Keep feedback as the endpoint does; returns its id."""
    name = digest(f"{request} {kind} {value!r} {later_s}".encode())
    at = now() + timedelta(seconds=later_s)
    ledger.append([Feedback(id=name, request=request, at=at, kind=kind, value=json.dumps(value))])
    return name


def verdicts(ledger: Ledger) -> list[tuple[str, str, float | None]]:
    return [(row.labeller, row.verdict, row.score) for row in labels_in(ledger)]


def only(ledger: Ledger) -> Any:
    """The only label."""
    (label,) = labels_in(ledger)
    return label


def test_each_kind_becomes_a_label_of_the_answer_received(ledger: Ledger) -> None:
    request = answered(ledger, strong="the answer", small="unseen")
    for kind, value in (("thumb", "up"), ("score", 0.4), ("outcome", True), ("comment", "nice")):
        say(ledger, request, kind, value)
    assert label_feedback(ledger, TASKS) == LabelCounts(good=2, bad=1)
    assert sorted(verdicts(ledger)) == [
        ("feedback:outcome", "good", 1.0),
        ("feedback:score", "bad", 0.4),
        ("feedback:thumb", "good", 1.0),
    ]
    assert {row.subject for row in labels_in(ledger)} == {calls_by_tier(ledger, request)["strong"]}


def test_a_sweep_run_twice_makes_nothing_twice(ledger: Ledger) -> None:
    for number in range(7):
        say(ledger, answered(ledger, f"p{number}"), "thumb", "down")
    assert label_feedback(ledger, TASKS, batch=3) == LabelCounts(bad=7)
    assert label_feedback(ledger, TASKS, batch=3) == LabelCounts()
    assert len(labels_in(ledger)) == 7


def test_the_label_is_of_the_last_answer_that_worked(ledger: Ledger) -> None:
    at = now() + timedelta(seconds=1)
    request = answered(ledger, strong=None)
    live = call_with(request, Tier.SMALL, "first try", role=Role.LIVE)
    escalated = call_with(request, Tier.STRONG, "second try", role=Role.ESCALATION, at=at)
    unseen = call_with(request, Tier.SMALL, "unseen", at=at + timedelta(seconds=1))
    failed = call_with(request, Tier.SMALL, "error", role=Role.LIVE, status=500, at=at + timedelta(seconds=2))
    ledger.append([*live, *escalated, *unseen, *failed])
    say(ledger, request, "edit", "second try")
    label_feedback(ledger, TASKS)
    assert (only(ledger).subject, only(ledger).score) == (first_id(escalated), 1.0)


def first_id(records: Any) -> str:
    return str(records[0].id)


def test_a_changed_mind_is_a_newer_label_and_the_newest_counts(ledger: Ledger) -> None:
    request = answered(ledger)
    for later_s, thumb in enumerate(("up", "down", "up")):
        say(ledger, request, "thumb", thumb, later_s=later_s)
        label_feedback(ledger, TASKS)
    labels = labels_in(ledger)
    assert [row.verdict for row in labels] == ["good", "bad", "good"]
    assert len({row.version for row in labels}) == 3
    assert newest(Vote(*(getattr(row, name) for name in Vote._fields)) for row in labels)[0].verdict == "good"


def test_only_the_newest_of_a_kind_is_labelled(ledger: Ledger) -> None:
    request = answered(ledger)
    say(ledger, request, "thumb", "up")
    last = say(ledger, request, "thumb", "down", later_s=1)
    say(ledger, request, "score", 1, later_s=-1)
    label_feedback(ledger, TASKS)
    assert sorted(verdicts(ledger)) == [("feedback:score", "good", 1.0), ("feedback:thumb", "bad", 0.0)]
    assert last[:40] in {row.version.rpartition("-")[2] for row in labels_in(ledger)}


@pytest.mark.parametrize(
    ("value", "verdict", "score"),
    [
        (True, "good", 1.0),
        (False, "bad", 0.0),
        ("Success ", "good", 1.0),
        ("ESCALATED", "bad", 0.0),
        (1, "good", 1.0),
        (0.5, "good", 0.5),
        (0.49, "bad", 0.49),
        (0, "bad", 0.0),
        (42.5, "unscored", None),
        (-1, "unscored", None),
        ("42", "unscored", None),
        ("", "unscored", None),
        ([True], "unscored", None),
    ],
)
def test_what_an_outcome_means(value: Any, verdict: str, score: float | None) -> None:
    outcome = of_outcome(value)
    assert (outcome.verdict, outcome.score) == (verdict, score)
    assert outcome.evidence.startswith("outcome ")


def test_no_word_means_both() -> None:
    assert not SUCCEEDED & FAILED
    assert {word.casefold() for word in SUCCEEDED | FAILED} == SUCCEEDED | FAILED


@pytest.mark.parametrize(
    ("edit", "verdict", "score"),
    [
        ("0123456789", "good", 1.0),
        ("01234567xx", "good", 0.8),
        ("0123456xxx", "bad", 0.7),
        ("", "bad", 0.0),
    ],
)
def test_an_edit_speaks_for_an_answer_that_it_is_close_to(
    ledger: Ledger, edit: str, verdict: str, score: float
) -> None:
    say(ledger, answered(ledger, strong="0123456789"), "edit", edit)
    label_feedback(ledger, TASKS)
    assert (only(ledger).verdict, only(ledger).score) == (verdict, pytest.approx(score))
    assert "similar by characters" in only(ledger).evidence or edit == "0123456789"


def test_another_threshold_makes_another_label(ledger: Ledger) -> None:
    say(ledger, answered(ledger, strong="0123456789"), "edit", "0123456xxx")
    label_feedback(ledger, TASKS)
    stricter = {"default": TaskSettings(edit_similarity=0.6)}
    assert label_feedback(ledger, stricter) == LabelCounts(good=1)
    assert label_feedback(ledger, stricter) == LabelCounts()
    assert [row.verdict for row in labels_in(ledger)] == ["bad", "good"]


def test_an_edit_of_an_answer_that_is_gone_is_unscored_and_a_thumb_is_not(ledger: Ledger) -> None:
    request = answered(ledger)
    say(ledger, request, "edit", "strong says so")
    say(ledger, request, "thumb", "up")
    forget_body(ledger, calls_by_tier(ledger, request)["strong"])
    assert label_feedback(ledger, TASKS) == LabelCounts(good=1, unscored=1)
    edit = next(row for row in labels_in(ledger) if row.labeller == "feedback:edit")
    assert "no longer kept" in edit.evidence
    assert label_feedback(ledger, TASKS) == LabelCounts()


def test_an_edit_of_an_answer_without_text_is_unscored(ledger: Ledger) -> None:
    say(ledger, answered(ledger, strong=" "), "edit", "something")
    assert label_feedback(ledger, TASKS) == LabelCounts(unscored=1)
    assert "no text" in only(ledger).evidence


def test_what_cannot_be_labelled_harms_nothing_else(ledger: Ledger) -> None:
    broken = Feedback(id=digest(b"x"), request=answered(ledger), at=now(), kind="thumb", value="{")
    odd = Feedback(id=digest(b"y"), request=answered(ledger), at=now(), kind="score", value='["x"]')
    unanswered = answered(ledger, strong=None)
    ledger.append([broken, odd])
    say(ledger, unanswered, "thumb", "up")
    say(ledger, new_id(), "thumb", "up")
    say(ledger, answered(ledger, task="undeclared"), "thumb", "up")
    say(ledger, answered(ledger), "thumb", "up")
    assert label_feedback(ledger, TASKS) == LabelCounts(good=1, unscored=2)
    assert label_feedback(ledger, TASKS) == LabelCounts()


def test_a_sweep_out_of_time_keeps_what_it_has_and_the_next_does_the_rest(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        say(ledger, answered(ledger, f"p{number}"), "thumb", "up")
    ticks = iter(range(100))
    monkeypatch.setattr("evals.feedback.CLOCK", lambda: next(ticks))
    assert label_feedback(ledger, TASKS, deadline=2.0, batch=4).labelled == 2
    assert label_feedback(ledger, TASKS).labelled == 4


def test_a_sweep_that_is_refused_keeps_the_batches_before(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        say(ledger, answered(ledger, f"p{number}"), "thumb", "up")
    append, calls = Ledger.append, iter(range(100))

    def refuse_the_second(self: Ledger, records: Any) -> None:
        if next(calls) == 1:
            raise LedgerError("disk full")
        append(self, records)

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "append", refuse_the_second)
        with pytest.raises(LedgerError, match="disk full"):
            label_feedback(ledger, TASKS, batch=2)
    assert len(labels_in(ledger)) == 2
    assert label_feedback(ledger, TASKS).labelled == 2
