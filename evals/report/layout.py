"""Numbers and tables as plain text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from evals.metrics.intervals import Estimate
from evals.report.tree import Bill, Money

WIDTH = 100
UNKNOWN = "unknown"


def dollars(micros: float) -> str:
    """An amount, with more digits the smaller it is."""
    usd = micros / 1e6
    digits = 2 if abs(usd) >= 100 or usd == 0 else 4 if abs(usd) >= 0.01 else 6
    return f"{'-' if usd < 0 else ''}${abs(usd):,.{digits}f}"


def money(amount: Money) -> str:
    """An amount with its interval, and n where it was estimated."""
    if not amount.n:
        return dollars(amount.value)
    return f"{dollars(amount.value)} [{dollars(amount.low)}, {dollars(amount.high)}] n={amount.n:,}"


def percent(estimate: Estimate | None, *, signed: bool = False, n: bool = True, digits: int = 1) -> str:
    """A share with its interval and n, in percent; `digits` are those of the interval's ends."""
    if estimate is None or estimate.n == 0:
        return "no data"
    sign = "+" if signed else ""
    ends = ", ".join(f"{100 * end:{sign}.{digits}f}" for end in (estimate.low, estimate.high))
    if math.isnan(estimate.value):
        return "undefined"
    return f"{100 * estimate.value:{sign}.1f}% [{ends}]" + (f" n={estimate.n:,}" if n else "")


def net_share(bill: Bill, *, n: bool = True) -> str:
    """The net saving as a share of always-strong's cost; without an interval where that cost is known."""
    if bill.net_share.n:
        return percent(bill.net_share, n=n)
    whole = bill.counterfactual.value
    return f"{100 * bill.net.value / whole:.1f}%" if whole else "undefined"


def decimal(estimate: Estimate) -> str:
    """A number near 1 with its interval."""
    if math.isnan(estimate.value):
        return "undefined"
    return f"{estimate.value:.3f} [{_end(estimate.low)}, {_end(estimate.high)}]"


def signed_decimal(estimate: Estimate, *, n: bool = False) -> str:
    """A number between -1 and 1 with its interval."""
    if math.isnan(estimate.value):
        return "no data" if not estimate.n else "undefined"
    shown = f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{shown} n={estimate.n:,}" if n else shown


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of a table; the first `left` columns are set left, the others right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of names and values."""
    width = max(len(name) for name, _ in rows)
    return [f"  {name.ljust(width)}  {value}" for name, value in rows]


def wrapped_pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of names and values, long values going on below themselves."""
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, value in rows:
        first, *rest = textwrap.wrap(value, WIDTH - width - 4) or [""]
        lines += [f"  {name.ljust(width)}  {first}", *(f"  {' ' * width}  {line}" for line in rest)]
    return lines


def _end(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else ("-inf" if value < 0 else "inf")
