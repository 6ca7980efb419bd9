"""Amounts of money as a page shows them: cents where there are dollars, more digits where there are none."""

from __future__ import annotations


def dollars(micros: float) -> str:
    """An amount in micro-dollars, with more digits the smaller it is."""
    usd = micros / 1e6
    size = abs(usd)
    digits = 0 if size >= 10_000 else 2 if size >= 1 or not usd else 4 if size >= 0.01 else 6
    return f"{'-' if usd < 0 else ''}${size:,.{digits}f}"
