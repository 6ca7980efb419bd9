"""Budgets: whose they are, when they are used up, and what that says."""

from __future__ import annotations

import pytest

from distill.night import budget
from distill.night.budget import DEFAULT_MINUTES, budget_of, check_names
from distill.night.machine import Stage
from stepdown.errors import OutOfBudget, SettingsError
from stepdown.settings import StudentSettings


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(budget, "CLOCK", made)
    return made


def student(**fields: object) -> StudentSettings:
    return StudentSettings(base="b", **fields)  # type: ignore[arg-type]


def test_every_stage_has_time_by_default_and_money_without_end(clock: Clock) -> None:
    assert set(DEFAULT_MINUTES) == set(Stage)
    made = budget_of(Stage.TRAIN, student(), lambda: 10**12)
    assert (made.minutes, made.usd) == (240, None)
    made.check()
    assert made.rented(3.0) == made.deadline


def test_a_stage_has_its_own_budget_before_that_of_all(clock: Clock) -> None:
    settings = student(stage_minutes={"train": 5, "all": 7}, stage_usd={"all": 2, "fit": 0.5})
    train, fit = (budget_of(stage, settings, lambda: 0) for stage in (Stage.TRAIN, Stage.FIT))
    assert (train.minutes, train.usd, fit.minutes, fit.usd) == (5, 2, 7, 0.5)


def test_when_the_time_is_up_it_says_so_and_names_the_setting(clock: Clock) -> None:
    made = budget_of(Stage.TRAIN, student(stage_minutes={"train": 5}), lambda: 0)
    clock.now += 299
    made.check()
    clock.now += 2
    with pytest.raises(OutOfBudget, match=r"5 minutes are up.*stage_minutes\.train"):
        made.check()


def test_when_the_money_is_spent_it_says_how_much(clock: Clock) -> None:
    spent = [0]
    made = budget_of(Stage.EVALUATE, student(stage_usd={"evaluate": 1.5}), lambda: spent[0])
    spent[0] = 1_499_999
    made.check()
    spent[0] = 1_620_000
    with pytest.raises(OutOfBudget, match=r"\$1\.62 of the \$1\.50"):
        made.check()


def test_a_budget_of_nothing_is_used_up_at_once(clock: Clock) -> None:
    made = budget_of(Stage.LABEL, student(stage_usd={"all": 0}), lambda: 0)
    with pytest.raises(OutOfBudget):
        made.check()


def test_money_for_rented_hours_is_a_deadline_less_what_was_spent(clock: Clock) -> None:
    made = budget_of(Stage.TRAIN, student(stage_usd={"train": 3}), lambda: 1_000_000)
    assert made.rented(4.0) == 1_000 + 1800
    assert made.rented(0.1) == made.deadline


def test_a_piece_of_the_work_ends_with_the_stage(clock: Clock) -> None:
    made = budget_of(Stage.LABEL, student(stage_minutes={"label": 2}), lambda: 0)
    assert made.until(60) == 1_060
    clock.now += 100
    assert made.until(60) == 1_120


def test_the_budget_of_a_stage_that_there_is_not_is_refused_by_name() -> None:
    check_names("t", student(stage_minutes={"all": 1, "gate": 2}))
    with pytest.raises(SettingsError, match=r"tasks\.t\.student\.stage_usd\.trian"):
        check_names("t", student(stage_usd={"trian": 1}))
