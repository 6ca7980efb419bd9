"""What a look at a rollout found, kept for those who only show it."""

from __future__ import annotations

from distill.rollout.keep import SERVICE, TRIAL, keep_progress, kept_progress, progress_in
from distill.rollout.look import look, rollouts
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries
from tests.distill.rollout.looks import SETTINGS, looked, newest
from tests.distill.rollout.traffic import TASK, Traffic, begun, in_canary

ON_BOTH_DATABASES = True


def test_a_canary_is_kept_with_its_arms_and_watches(ledger: Ledger) -> None:
    student = in_canary(ledger)
    (found,) = rollouts(ledger, SETTINGS, TASK)
    keep_progress(ledger, TASK, found)
    kept = kept_progress(ledger, TASK, TRIAL, student)
    assert kept is not None
    assert (kept.stage, kept.share, kept.next) == ("canary of 20%", 0.2, "50%")
    assert kept.reason == found.assessment.reason
    assert set(kept.arms) == {"canary", "control"} or not kept.arms
    assert [watch.name for watch in kept.watches] == [watch.name for watch in found.assessment.watches]
    assert kept.e_needed is not None
    assert kept.e_needed > 1
    assert kept_progress(ledger, TASK, TRIAL, "another") is None
    assert kept_progress(ledger, TASK, SERVICE, student) is None


def test_each_look_keeps_what_it_found(ledger: Ledger) -> None:
    student = begun(ledger)
    assert look(ledger, SETTINGS, TASK) is None
    kept = kept_progress(ledger, TASK, TRIAL, student)
    assert kept is not None
    assert (kept.stage, kept.reason) == ("shadow", "0 labelled shadow calls of 40")


def test_what_cannot_be_read_is_none(ledger: Ledger) -> None:
    student = begun(ledger)
    Summaries(ledger).keep(TASK, TRIAL, b'{"student": 7}')
    assert kept_progress(ledger, TASK, TRIAL, student) is None


def test_a_promotion_holds_the_numbers_of_the_look_that_made_it(ledger: Ledger) -> None:
    student = begun(ledger)
    assert progress_in(newest(ledger), student) is None
    Traffic(ledger).shadow(20, failing=1.0)
    assert "alarm" in looked(ledger)
    kept = progress_in(newest(ledger), student)
    assert kept is not None
    assert kept.stage == "shadow"
    assert any(watch.alarm for watch in kept.watches)
