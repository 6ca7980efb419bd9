"""Tests of `dashboards.amounts`."""

from __future__ import annotations

import pytest

from dashboards.amounts import dollars


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "$0.00"),
        (12_345_678_901, "$12,346"),
        (9_071_800, "$9.07"),
        (-1_999_999, "-$2.00"),
        (410_000, "$0.4100"),
        (4_599, "$0.004599"),
    ],
)
def test_the_smaller_the_more_digits(micros: float, shown: str) -> None:
    assert dollars(micros) == shown
