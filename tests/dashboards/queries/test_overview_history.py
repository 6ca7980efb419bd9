"""Tests of the history that the workers keep, cut to a page's period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboards.queries.overview import Calls
from dashboards.queries.overview_history import SMALL_ANSWERS, STRONG_ANSWERS, fits, history_of
from dashboards.queries.period import DAY, HOUR, Period
from evals.report.tree import Money
from evals.summary.documents import Audited, Billed, Days, Measured
from evals.summary.documents import Period as Kept
from stepdown.records import Role, Tier

START = datetime(2026, 11, 1, tzinfo=UTC)
NOTHING = Measured(None, None, None, 0)
TWO_DAYS = Period("all", START, START + 4 * DAY, 2 * DAY)


def billed(live: int = 100, shadow: int = 5, net: tuple[int, int, int] = (10, 8, 12)) -> Billed:
    """A bill of a few micro-dollars."""
    zero = dict.fromkeys(
        ("candidates", "exploration", "escalation", "judge", "evaluations", "trials", "rent", "distillation"),
        0,
    )
    return Billed(
        **zero,
        requests=1,
        answered_small=0,
        live=live,
        shadow=shadow,
        actual=live + shadow,
        counterfactual=Money(live + 20, live + 18, live + 22, 7),
        gross=Money(0, 0, 0, 0),
        net=Money(*net, 7),
        net_share=NOTHING,
        excluded=0,
        unpriced=0,
        unpriced_machine_s=0.0,
        method="known",
    )


def audited(difference: Measured) -> Audited:
    """An audit of which the difference is known."""
    rest = dict.fromkeys(("policy", "strong", "regret"), NOTHING)
    return Audited(explored=9, audited=9, judged=0, regrets=0, difference=difference, **rest)


def days(*periods: Kept) -> Days:
    """A history by the day."""
    return Days(at=START + 4 * DAY, since=None, bucket="day", confidence=0.95, periods=periods)


def kept(day: int, **more: object) -> Kept:
    """One day of it."""
    return Kept(start=START + day * DAY, requests=1, **more)  # type: ignore[arg-type]


def test_bills_of_a_bucket_are_added_with_the_ends_of_their_intervals() -> None:
    history = history_of(days(*(kept(day, bill=billed()) for day in range(4))), TWO_DAYS, [])
    assert [point[1:] for point in history.on_strong] == [(240, 236, 244, 7), (240, 236, 244, 7)]
    assert [point[1:] for point in history.saved] == [(20, 16, 24, 7), (40, 32, 48, 7)]
    assert sum(one.usd_micros for one in history.spent) == 4 * 105


def test_what_is_older_than_the_period_is_left_out() -> None:
    history = history_of(
        days(*(kept(day, bill=billed()) for day in range(4))),
        Period("7d", START + 3 * DAY, START + 4 * DAY, DAY),
        [],
    )
    assert [point.start for point in history.saved] == [START + 3 * DAY]
    assert history.saved[0].value == 10


def test_answers_are_shared_out_by_what_the_calls_cost() -> None:
    calls = [
        Calls(START, "big", Tier.STRONG, Role.LIVE, 3, 0, 0, 75),
        Calls(START, "little", Tier.SMALL, Role.LIVE, 3, 0, 0, 25),
        Calls(START, "little", Tier.SMALL, Role.SHADOW, 3, 0, 0, 1000),
    ]
    spent = {
        one.part: one.usd_micros for one in history_of(days(kept(0, bill=billed())), TWO_DAYS, calls).spent
    }
    assert (spent[STRONG_ANSWERS], spent[SMALL_ANSWERS], spent["shadow calls"]) == (75, 25, 5)


def test_a_day_without_a_bill_is_counted_and_says_why() -> None:
    history = history_of(days(kept(0, why_no_bill="no price"), kept(2, bill=billed())), TWO_DAYS, [])
    assert (history.unbilled, history.why) == (1, "no price")
    assert [point.start for point in history.on_strong] == [START + 2 * DAY]


def test_quality_is_that_of_the_last_audit_in_a_bucket() -> None:
    first, last = (audited(Measured(value, value - 0.1, value + 0.1, 9)) for value in (0.2, -0.01))
    history = history_of(days(kept(0, audit_so_far=first), kept(1, audit_so_far=last), kept(2)), TWO_DAYS, [])
    assert [(point.start, point.value, point.n) for point in history.quality] == [(START, -0.01, 9)]


def test_an_undefined_quality_is_no_point() -> None:
    history = history_of(days(kept(0, audit_so_far=audited(NOTHING))), TWO_DAYS, [])
    assert history.quality == ()


def test_days_do_not_fit_hours() -> None:
    by_hour = Period("24h", START, START + DAY, HOUR)
    assert not fits(days(), by_hour)
    assert fits(Days(at=START, since=None, bucket="hour", confidence=0.95), by_hour)
    assert fits(days(), Period("7d", START, START + timedelta(days=7), DAY))
