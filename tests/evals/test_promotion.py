"""The rules of stepping down and up, as a table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from evals.promotion import Step, is_kept_on_strong, look_after, next_step, share_of, why_not_fit
from stepdown.ids import now
from stepdown.records import Artifact, Mode, Promotion
from stepdown.settings import JudgeSettings, TaskSettings

TASK = TaskSettings(checks={"number": {"kind": "number"}}, small="small", min_labels=100)
AT = now()


def router(name: str, *, coverage: float = 0.4, minutes: int = 10, pairs: int = 100) -> Artifact:
    return Artifact(
        id=name,
        kind="router",
        task="t",
        at=AT + timedelta(minutes=minutes),
        content=b"",
        settings={"epsilon": 0.02, "delta": 0.05, "pairs": pairs},
        summary={"certificate": {"coverage": coverage, "reason": "2 regrets, 1 allowed"}},
    )


def promotion(mode: Mode, artifact: str | None = None, actor: str = "auto") -> Promotion:
    return Promotion(
        task="t", sequence=1, at=AT, mode=mode, artifact=artifact, actor=actor, reason="", evidence={}
    )


def step_of(
    task: TaskSettings, current: Promotion | None, newest: Artifact | None, **how: bool
) -> Step | None:
    return next_step(task, [current] if current else [], newest, AT + timedelta(days=2), **how)


def test_strong_goes_to_shadow_as_soon_as_there_is_a_small_model() -> None:
    step = step_of(TASK, None, None)
    assert step is not None
    assert (step.mode, step.artifact) == (Mode.SHADOW, None)


def test_shadow_goes_to_route_on_a_certificate() -> None:
    step = step_of(TASK, promotion(Mode.SHADOW), router("a"))
    assert step is not None
    assert (step.mode, step.artifact) == (Mode.ROUTE, "a")
    assert step.reason == "certified: quality loss <= 0.02 with confidence 0.95, coverage 40.0%"


def test_route_takes_a_newer_router() -> None:
    step = step_of(TASK, promotion(Mode.ROUTE, "a"), router("b"))
    assert step is not None
    assert (step.mode, step.artifact) == (Mode.ROUTE, "b")


def test_route_goes_back_to_shadow_when_the_evidence_stops_saying_so() -> None:
    step = step_of(TASK, promotion(Mode.ROUTE, "a"), router("b", coverage=0))
    assert step is not None
    assert (step.mode, step.artifact) == (Mode.SHADOW, None)
    assert "2 regrets, 1 allowed" in step.reason


@pytest.mark.parametrize(
    ("task", "current", "newest"),
    [
        (TaskSettings(), None, None),  # no small model
        (msgspec.structs.replace(TASK, promotion="manual"), None, None),
        (msgspec.structs.replace(TASK, promotion="manual"), promotion(Mode.SHADOW), router("a")),
        (TASK, promotion(Mode.SHADOW), None),
        (TASK, promotion(Mode.SHADOW), router("a", coverage=0)),
        (TASK, promotion(Mode.ROUTE, "a"), router("a")),  # in force already
        (TASK, promotion(Mode.SHADOW, actor="ana"), router("a", minutes=-1)),  # ana knew it
        (TASK, promotion(Mode.ROUTE, "b", actor="ana"), router("a", minutes=-1)),
        (TASK, promotion(Mode.STRONG, actor="ana"), router("a")),  # ana put it on strong
        (TASK, replace(promotion(Mode.STRONG), candidate="s"), router("a")),  # it would end the trial
    ],
)
def test_nothing_is_promoted_without_a_reason(
    task: TaskSettings, current: Promotion | None, newest: Artifact | None
) -> None:
    assert step_of(task, current, newest) is None


@pytest.mark.parametrize(
    ("task", "pairs", "newest", "why"),
    [
        (TASK, 99, None, "99 prompts are labelled for both models, min_labels is 100"),
        (TASK, 100, None, None),
        (TaskSettings(), 1000, None, "no small model is configured"),
        (TASK, 109, router("a"), "109 prompts are labelled for both models, the newest router knew 100"),
        (TASK, 110, router("a"), None),
        (msgspec.structs.replace(TASK, max_quality_loss=0.05), 100, router("a"), None),
        (msgspec.structs.replace(TASK, confidence=0.9), 100, router("a"), None),
        (msgspec.structs.replace(TASK, certify_on="judged"), 100, router("a"), None),
    ],
)
def test_a_router_is_fitted_when_there_is_something_new_to_learn(
    task: TaskSettings, pairs: int, newest: Artifact | None, why: str | None
) -> None:
    assert why_not_fit(task, pairs, newest) == why


def test_a_task_without_a_check_stays_on_strong() -> None:
    """Its shadow calls would be paid for, and nothing could be learnt from them."""
    unchecked = msgspec.structs.replace(TASK, checks={})
    assert step_of(unchecked, None, None) is None
    assert step_of(unchecked, None, None, labelled=True) is not None  # people label it
    judged = msgspec.structs.replace(unchecked, judges={"j": JudgeSettings(model="strong")})
    assert step_of(judged, None, None) is not None


def test_a_bound_that_rests_on_judges_says_so() -> None:
    judged = router("a")
    judged = replace(judged, summary={**judged.summary, "judged_by": ["feedback:thumb", "judge:j"]})
    step = step_of(TASK, promotion(Mode.SHADOW), judged)
    assert step is not None
    assert step.reason.endswith("coverage 40.0%, as judged by feedback:thumb, judge:j")


def test_trusted_labels_of_known_pairs_are_something_new() -> None:
    known = replace(router("a"), settings={**router("a").settings, "certifiable": 20})
    assert why_not_fit(TASK, 100, known, 20) is not None
    assert why_not_fit(TASK, 100, known, 21) is not None
    assert why_not_fit(TASK, 100, known, 22) is None


def test_a_promotion_of_a_clock_that_was_ahead_holds_up_no_newer_router() -> None:
    ahead = replace(promotion(Mode.ROUTE, "a"), at=AT + timedelta(days=3650))
    first = replace(promotion(Mode.SHADOW), at=AT - timedelta(hours=1))
    known = [first, replace(ahead, sequence=2)]
    present = AT + timedelta(days=1)
    step = next_step(TASK, known, router("b"), present)
    assert step is not None
    assert step.artifact == "b"
    assert next_step(TASK, known, router("a"), present) is None
    assert next_step(TASK, known, router("b", minutes=-120), present) is None  # it was there before both
    went_back = replace(ahead, sequence=3, artifact="c", actor="ana")
    assert next_step(TASK, [*known, went_back], router("a"), present) is None  # ana decided against it
    soon = replace(first, sequence=2, at=AT + timedelta(hours=2))
    assert next_step(TASK, [first, soon], router("b"), AT) is None  # clocks of two machines


def test_a_task_that_a_person_put_on_strong_stays_there_when_an_alarm_takes_back_what_they_tried() -> None:
    strong = promotion(Mode.STRONG, actor="ana")
    tried = replace(strong, sequence=2, candidate="s")
    alarm = replace(strong, sequence=3, actor="auto", evidence={"rollback_of": [2]})
    present = AT + timedelta(days=2)
    assert next_step(TASK, [strong, tried, alarm], router("a"), present) is None
    nobodys = [replace(one, sequence=one.sequence - 1) for one in (tried, alarm)]
    taken_back = replace(nobodys[1], evidence={"rollback_of": [1]})
    step = next_step(TASK, [nobodys[0], taken_back], router("a"), present)
    assert step is not None
    assert step.mode is Mode.SHADOW


def test_fits_and_the_choices_that_they_offer_spend_delta_once() -> None:
    looks: list[int] = []
    for chosen_from in (False, True, True, False):
        fit = look_after(looks)
        assert fit % 2 == 1
        assert fit not in looks
        assert fit - 1 not in {look for look in looks if look % 2}  # nobody's choices are of this number
        looks += [fit, fit + 1] if chosen_from else [fit]
    assert [look for look in looks if look % 2] == [1, 3, 5, 7]
    assert look_after([]) == 1
    assert sum(share_of(0.05, look) for look in range(1, 10_000)) < 0.05


def test_a_router_that_is_looser_than_the_bound_in_force_is_not_put_in_force() -> None:
    strict = msgspec.structs.replace(TASK, max_quality_loss=0.01)
    assert step_of(strict, promotion(Mode.SHADOW), router("a")) is None
    assert step_of(strict, promotion(Mode.ROUTE, "b"), router("a", coverage=0)) is not None
    loose = msgspec.structs.replace(TASK, max_quality_loss=0.03)
    assert step_of(loose, promotion(Mode.SHADOW), router("a")) is not None


def test_what_a_person_might_have_chosen_is_no_evidence() -> None:
    offering = router("a")
    offering = replace(offering, summary={**offering.summary, "choices": [{"epsilon": 0.1}]})
    step = step_of(TASK, promotion(Mode.SHADOW), offering)
    assert step is not None
    assert step.evidence == router("a").summary


def test_who_sets_a_bound_on_a_task_that_is_on_strong_does_not_keep_it_there() -> None:
    bound = replace(promotion(Mode.STRONG, actor="ana"), max_quality_loss=0.05)
    assert not is_kept_on_strong([bound])
    assert step_of(TASK, bound, None) is not None
    kept = promotion(Mode.STRONG, actor="bo")
    assert is_kept_on_strong([kept])
    assert is_kept_on_strong([kept, replace(bound, sequence=2)])  # and bo's word stands
    again = replace(bound, sequence=2, max_quality_loss=0.01)
    assert not is_kept_on_strong([bound, again])
    taken_off = replace(promotion(Mode.SHADOW, actor="ana"), sequence=2, max_quality_loss=0.05)
    assert is_kept_on_strong([bound, taken_off, replace(bound, sequence=3)])
