"""The day of break-even, and how often the interval of a pace holds the truth."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from distill.bill.payback import Account, pace, payback
from distill.bill.service import Period
from distill.bill.tree import Outlook
from evals.report.tree import Money
from tests.distill.bill.scene import DAY, START

NO_COSTS = pd.DataFrame({"at": pd.to_datetime([], utc=True), "kind": [], "usd_micros": []})


def known(value: float, n: int) -> Money:
    return Money(round(value), round(value), round(value), n)


def account(saved: list[float], *, cost: float = 0.0, days: int = 7, usd_per_hour: float = 0.0) -> Account:
    """Savings at noon of the days from the start on, and one cost at the start."""
    at = [START + number * DAY + timedelta(hours=12) for number in range(len(saved))]
    rows = pd.DataFrame(
        {
            "at": pd.to_datetime(at, utc=True),
            "usd_micros": saved,
            "prompt_hash": [str(n) for n in range(len(at))],
        }
    )
    costs = pd.DataFrame(
        {"at": pd.to_datetime([START], utc=True), "kind": ["training"], "usd_micros": [float(cost)]}
    )
    total = known(sum(saved), len(saved))
    return Account(costs, rows, total, [Period(START, START + days * DAY)], usd_per_hour, START + days * DAY)


def test_a_net_that_falls_below_zero_again_was_not_yet_paid_back() -> None:
    """100 saved at once and 24 of rent a day: above zero at first, below on the fifth, above again."""
    saved = [100.0, 0.0, 0.0, 0.0, 0.0, 60.0, 0.0]
    found = payback(account(saved, usd_per_hour=0.000001), Money(160 - 168, 0, 0, 7), None)
    assert found.outlook == Outlook.NO_PACE
    again = account([*saved[:6], 80.0], usd_per_hour=0.000001)
    turned = payback(again, Money(72, 72, 72, 7), None)
    assert (turned.outlook, turned.day) == (Outlook.PAID, START + 5 * DAY)


@given(
    saved=st.lists(st.floats(0, 1000), min_size=1, max_size=7),
    cost=st.floats(0, 3000),
    spread=st.floats(0, 0.5),
    per_day=st.integers(-200, 500),
)
def test_early_is_never_after_the_day_nor_the_day_after_late(
    saved: list[float], cost: float, spread: float, per_day: int
) -> None:
    given_account = account(saved, cost=cost)
    value = sum(saved)
    total = Money(round(value), round(value * (1 - spread)), round(value * (1 + spread)), 20)
    net = Money(total.value - round(cost), total.low - round(cost), total.high - round(cost), 20)
    rate = Money(per_day, per_day - 50, per_day + 50, 20)
    found = payback(given_account._replace(total=total), net, rate)
    if found.outlook in (Outlook.PAID, Outlook.WILL):
        assert found.day is not None
        assert found.early is not None
        assert found.early <= found.day
        assert found.late is None or found.day <= found.late


def test_the_interval_of_a_pace_holds_the_truth_as_often_as_stated() -> None:
    """Prompts arrive at random, 8 a day, some of them twice; each saves between 50 and 150."""
    generator, held, draws = np.random.default_rng(0), [], 400
    for _ in range(draws):
        count = int(generator.poisson(8 * 7))
        times = generator.integers(1, 3, count)
        saved = np.repeat(generator.uniform(50, 150, count), times)
        prompts = np.repeat(np.arange(count), times).astype(str)
        rows = pd.DataFrame({"at": pd.Timestamp(START + DAY), "usd_micros": saved, "prompt_hash": prompts})
        total = known(float(saved.sum()), len(saved))
        made = Account(NO_COSTS, rows, total, [Period(START, START + 7 * DAY)], 0.0, START + 7 * DAY)
        found = pace(made, START, total, 0.95)
        held.append(found.low <= 8 * 1.5 * 100 <= found.high)
    assert np.mean(held) >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / draws)
