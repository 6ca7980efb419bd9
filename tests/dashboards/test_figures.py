"""Figures keep their interval and n, and what is not known is no number."""

from __future__ import annotations

import pytest

from dashboards.figures import amount, estimate, percent_text
from evals.frontier import Figure
from evals.metrics.intervals import Estimate

WHOLE = Figure(0.25, 0.2, 0.3, 40)
NOTHING = Figure(None, None, None, 0)
OPEN = Figure(250_000.0, None, None, 1)


def test_an_estimate_is_there_where_all_of_it_is_known() -> None:
    assert estimate(WHOLE) == Estimate(0.25, 0.2, 0.3, 40)
    for unknown in (None, NOTHING, OPEN):
        assert estimate(unknown) is None


def test_an_amount_has_its_interval_as_often_as_asked() -> None:
    shown = str(amount(Figure(1_000.0, 900.0, 1_100.0, 7), 1_000))
    assert "$1.00" in shown
    assert "$0.9000 to $1.10 · n=7" in shown


def test_an_amount_without_ends_says_that_it_has_none() -> None:
    assert "no interval · n=1" in amount(OPEN)
    assert "inf" not in amount(OPEN)


@pytest.mark.parametrize("unknown", [None, NOTHING])
def test_what_is_not_known_is_no_zero(unknown: Figure | None) -> None:
    assert "no data" in amount(unknown)
    assert percent_text(unknown) == "no data"
    assert "0" not in amount(unknown)


def test_a_share_as_text_has_its_interval_and_n() -> None:
    assert percent_text(WHOLE) == "25.0% (20.0 to 30.0, n=40)"
