"""The night as a machine: its order, what a stage that was not done means for the others, and its tries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.night.machine import (
    ASLEEP,
    AWAKE,
    ENDED,
    MOST_TRIES,
    OPTIONAL,
    STARTED,
    Begin,
    End,
    Outcome,
    Stage,
    asleep,
    attempts,
    is_over,
    left_over,
    next_step,
    numbered,
)
from stepdown.ids import now
from stepdown.records import NightEvent


def event(
    stage: Stage, name: str, outcome: Outcome | None = None, reason: str = "", **found: Any
) -> NightEvent:
    return NightEvent(
        night="n", stage=stage, event=name, at=now(), outcome=outcome or "", reason=reason, found=found
    )


def ended(stage: Stage, outcome: Outcome = Outcome.DONE, **found: Any) -> NightEvent:
    return event(stage, ENDED, outcome, **found)


def all_done(until: Stage) -> list[NightEvent]:
    return [ended(stage) for stage in list(Stage)[: list(Stage).index(until)]]


def ends_with(outcomes: dict[Stage, Outcome]) -> dict[Stage, Outcome]:
    """How each stage ends, where those that are begun end as told, or are done."""
    events: list[NightEvent] = []
    while (step := next_step(events)) is not None:
        outcome = step.ending.outcome if isinstance(step, End) else outcomes.get(step.stage, Outcome.DONE)
        events.append(ended(step.stage, outcome))
    return {Stage(e.stage): Outcome(e.outcome) for e in events}


def test_the_stages_are_begun_in_their_order_and_each_once() -> None:
    for stage in Stage:
        assert next_step(all_done(stage)) == Begin(stage, 1)
    assert next_step([ended(stage) for stage in Stage]) is None


def test_a_stage_that_was_broken_off_is_taken_up_with_its_number() -> None:
    begun = [*all_done(Stage.TRAIN), event(Stage.TRAIN, STARTED)]
    assert next_step(begun) == Begin(Stage.TRAIN, 2)
    again = [*begun, event(Stage.TRAIN, "started 2")]
    assert next_step(again) == Begin(Stage.TRAIN, 3)


def test_a_stage_that_dies_every_time_is_given_up() -> None:
    tries = [event(Stage.TRAIN, numbered(STARTED, n)) for n in range(1, MOST_TRIES + 1)]
    step = next_step([*all_done(Stage.TRAIN), *tries])
    assert isinstance(step, End)
    assert step.ending.outcome is Outcome.FAILED
    assert "broken off 3 times" in step.ending.reason


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.STOPPED, Outcome.FAILED])
@pytest.mark.parametrize("stage", [s for s in Stage if s not in OPTIONAL and s is not Stage.REPORT])
def test_what_needs_a_stage_that_was_not_done_is_skipped_and_the_report_is_made(
    stage: Stage, outcome: Outcome
) -> None:
    ends = ends_with({stage: outcome})
    order = list(Stage)
    before, after = order[: order.index(stage)], order[order.index(stage) + 1 : -1]
    assert all(ends[one] is Outcome.DONE for one in before)
    assert ends[stage] is outcome
    assert all(ends[one] is Outcome.SKIPPED for one in after)
    assert ends[Stage.REPORT] is Outcome.DONE


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.STOPPED, Outcome.FAILED])
def test_the_night_goes_on_without_labels_slices_and_practice(outcome: Outcome) -> None:
    ends = ends_with(dict.fromkeys(OPTIONAL, outcome))
    assert all(ends[one] is (outcome if one in OPTIONAL else Outcome.DONE) for one in Stage)


def test_what_is_skipped_says_what_stood_in_the_way() -> None:
    refused = ended(Stage.GATE, Outcome.STOPPED)
    step = next_step([*all_done(Stage.GATE), refused])
    assert isinstance(step, End)
    assert step.ending.reason == "gate was not passed"


@given(st.dictionaries(st.sampled_from(list(Stage)), st.sampled_from(list(Outcome))))
def test_every_night_comes_to_its_end_and_no_stage_ends_twice(outcomes: dict[Stage, Outcome]) -> None:
    assert list(ends_with(outcomes)) == list(Stage)


@given(st.lists(st.sampled_from([STARTED, "started 2", "started 3"]), unique=True))
def test_attempts_count_whatever_the_order_of_events_is(names: list[str]) -> None:
    events = [event(Stage.TRAIN, name) for name in names]
    assert attempts(events, Stage.TRAIN) == max((int(n[8:] or 1) for n in names), default=0)


def test_a_night_is_over_when_its_report_has_ended() -> None:
    assert not is_over(all_done(Stage.REPORT))
    assert is_over([*all_done(Stage.REPORT), ended(Stage.REPORT, Outcome.FAILED)])


def test_who_sleeps_is_who_was_put_to_sleep_more_often_than_woken() -> None:
    slept = event(Stage.TRAIN, ASLEEP)
    assert asleep([slept]) == [Stage.TRAIN]
    woken = [slept, event(Stage.TRAIN, AWAKE)]
    assert asleep(woken) == []
    assert asleep([*woken, event(Stage.TRAIN, "asleep 2")]) == [Stage.TRAIN]
    assert asleep([slept, event(Stage.TRAIN, "asleep 2"), event(Stage.TRAIN, "awake 2")]) == []


def test_a_dataset_is_left_over_where_nothing_was_decided() -> None:
    built = ended(Stage.DATASET, dataset="d")
    assert left_over([built, ended(Stage.TRAIN, Outcome.STOPPED)]) == "d"
    assert left_over([built, ended(Stage.TRAIN), ended(Stage.EVALUATE, Outcome.FAILED)]) == "d"
    assert left_over([built, ended(Stage.GATE, Outcome.STOPPED, gates=[{"passed": False}])]) is None
    passed = ended(Stage.GATE, Outcome.DONE, gates=[{"passed": True}])
    assert left_over([built, passed]) is None
    assert left_over([built, passed, ended(Stage.RELABEL, Outcome.STOPPED)]) == "d"
    assert left_over([built, passed, ended(Stage.FIT, Outcome.FAILED)]) == "d"
    assert left_over([built, passed, ended(Stage.BOUND, Outcome.STOPPED)]) is None
    assert left_over([ended(Stage.DATASET, Outcome.SKIPPED), ended(Stage.TRAIN, Outcome.SKIPPED)]) is None
