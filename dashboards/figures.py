"""Kept estimates as a page shows them: with their interval and n, or that there are none.

Invariant: what is not known is said to be so, and is never a zero; an end of an interval that does not exist
is not shown as a number.
"""

from __future__ import annotations

import math
from typing import Protocol

from markupsafe import Markup

from dashboards.amounts import dollars
from dashboards.render import NO_DATA
from evals.metrics.intervals import Estimate


class Known(Protocol):
    """An estimate as documents keep it: None is what is not known."""

    @property
    def value(self) -> float | None:
        """The estimate."""

    @property
    def low(self) -> float | None:
        """Lower end of its interval."""

    @property
    def high(self) -> float | None:
        """Upper end."""

    @property
    def n(self) -> int:
        """Rows behind it."""


def estimate(known: Known | None) -> Estimate | None:
    """The same for the filters of the templates; None where anything of it is unknown."""
    if known is None or known.value is None or known.low is None or known.high is None:
        return None
    return Estimate(known.value, known.low, known.high, known.n)


def amount(known: Known | None, times: float = 1.0) -> Markup:
    """Micro-dollars with their interval, `times` over."""
    if known is None or known.value is None or not math.isfinite(known.value):
        return Markup("<span class=none>{}</span>").format(NO_DATA)
    figure = Markup("<span class=figure>{}</span>").format(dollars(known.value * times))
    if known.low is None or known.high is None:
        return figure + Markup(" <span class=interval>no interval · n={:,}</span>").format(known.n)
    ends = f"{dollars(known.low * times)} to {dollars(known.high * times)}"
    return figure + Markup(" <span class=interval>{} · n={:,}</span>").format(ends, known.n)


def percent_text(known: Known | None) -> str:
    """A share with its interval as plain text."""
    found = estimate(known)
    if found is None or not found.n:
        return NO_DATA
    value, low, high = (f"{100 * end:.1f}" for end in found[:3])
    return f"{value}% ({low} to {high}, n={found.n:,})"
