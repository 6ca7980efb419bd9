"""Whose word counts: people before checks, checks before judges, and each by the newest label."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from evals.verdicts import LabelRow, Standing, newest_labels, verdicts, vote_of
from stepdown.records import Verdict

START = datetime(2026, 11, 1, tzinfo=UTC)
GOOD, BAD, UNSCORED = Verdict.GOOD, Verdict.BAD, Verdict.UNSCORED


def label(
    subject: str, labeller: str, verdict: str, *, after: int = 0, score: float | None = None
) -> LabelRow:
    return LabelRow(subject, labeller, "1", START + timedelta(seconds=after), verdict, score)


def standing(*said: tuple[str, str]) -> Standing:
    labels = [label("c", labeller, verdict, after=i) for i, (labeller, verdict) in enumerate(said)]
    return verdicts(labels, {"c": "strong"}).by_call["c"]


@pytest.mark.parametrize(
    ("said", "verdict", "source", "trusted"),
    [
        ([("check:a", GOOD)], GOOD, "check", True),
        ([("check:a", GOOD), ("check:b", BAD)], BAD, "check", True),
        ([("check:a", BAD), ("check:b", UNSCORED)], UNSCORED, "check", False),
        ([("check:a", UNSCORED), ("judge:j", GOOD)], UNSCORED, "check", False),
        ([("check:a", GOOD), ("judge:j", BAD), ("feedback:thumb", BAD)], GOOD, "check", True),
        ([("check:a", GOOD), ("person:ana", BAD)], BAD, "person", True),
        ([("person:ana", GOOD), ("person:bo", BAD), ("person:cy", GOOD)], GOOD, "person", True),
        ([("person:ana", GOOD), ("person:bo", BAD), ("check:a", GOOD)], UNSCORED, "person", False),
        ([("person:ana", UNSCORED), ("check:a", GOOD)], GOOD, "check", True),  # she skipped it
        ([("person:ana", BAD), ("person:ana", GOOD)], GOOD, "person", True),  # she changed her mind
        ([("person:ana", UNSCORED)], UNSCORED, "judge", False),
        ([("judge:j", UNSCORED)], UNSCORED, "judge", False),
        ([("judge:j", GOOD)], GOOD, "judge", False),
        ([("judge:j", BAD), ("feedback:thumb", BAD)], BAD, "judge", False),
    ],
)
def test_whose_verdict_counts(said: list[tuple[str, str]], verdict: str, source: str, trusted: bool) -> None:
    found = standing(*said)
    assert (found.verdict, found.source, found.trusted) == (verdict, source, trusted)
    assert math.isnan(found.good) == (verdict == UNSCORED)
    if trusted:
        assert found.good == float(verdict == GOOD)


def test_evidence_is_told_apart_from_the_verdict() -> None:
    found = standing(("check:a", GOOD), ("judge:j", BAD))
    assert (found.good, found.checked) == (1.0, True)
    assert found.judged < 0.5
    assert math.isnan(standing(("check:a", GOOD)).judged)


def test_a_judge_is_believed_as_far_as_the_checks_found_it_right_on_each_model() -> None:
    """The judge passes everything of strong's, and is right of small's."""
    labels, tiers = [], {}
    for n in range(200):
        for tier in ("strong", "small"):
            call, good = f"{tier}{n}", n % 2 == 0
            tiers[call] = tier
            said = GOOD if good or tier == "strong" else BAD
            labels.append(label(call, "judge:j", said))
            if n < 100:
                labels.append(label(call, "check:a", GOOD if good else BAD))
    found = verdicts(labels, tiers)
    assert found.by_call["strong150"].good == pytest.approx(0.5, abs=0.05)
    assert found.by_call["small150"].good > 0.95
    assert found.by_call["small151"].good < 0.05
    assert found.fused["small"].rates["judge:j"].specificity > 0.95
    assert found.fused["strong"].rates["judge:j"].specificity < 0.05


def test_the_newest_label_of_each_labeller_is_kept() -> None:
    old, new = label("c", "check:a", BAD, after=1), label("c", "check:a", GOOD, after=2)
    assert newest_labels([new, old])["c"] == {"check:a": new}


def test_a_labeller_of_an_unknown_kind_is_left_aside() -> None:
    assert verdicts([label("c", "oracle:x", GOOD)], {"c": "strong"}).by_call == {}


def test_what_users_did_counts_by_its_score() -> None:
    near, far = label("c", "feedback:edit", GOOD, score=0.9), label("c", "feedback:edit", BAD, score=0.9)
    votes = [vote_of(near), vote_of(far), vote_of(label("c", "judge:j", GOOD, score=0.5))]
    assert [vote.weight for vote in votes if vote] == pytest.approx([0.9, 0.1, 1.0])
    assert vote_of(label("c", "judge:j", UNSCORED)) is None
