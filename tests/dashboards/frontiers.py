"""A frontier made by hand, so that what a page shows can be told from it."""

from __future__ import annotations

from typing import Any

import msgspec

from evals.frontier import FRONTIER, Choice, Figure, Frontier, to_json
from evals.frontier.tree import Baseline, Point
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.summaries import Summaries

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ROUTER = "r" * 64
PAIRS = 400


def figure(value: float, reach: float = 0.02, n: int = PAIRS) -> Figure:
    """An estimate with an interval."""
    return Figure(value, value - reach, value + reach, n)


def choice(loss: float, coverage: float, **changes: Any) -> Choice:
    """What a bound buys; nothing where the coverage is 0."""
    is_nothing = coverage == 0
    fields: dict[str, Any] = {
        "max_quality_loss": loss,
        "certified_for": None if is_nothing else loss,
        "threshold": None if is_nothing else coverage - 0.5,
        "regrets": round(100 * loss),
        "served": round(PAIRS * coverage),
        "n": PAIRS,
        "upper": loss - 0.001,
        "confidence": 0.995,
        "reason": "at least 826 prompts are needed" if is_nothing else "certified",
        "coverage": figure(coverage),
        "quality": figure(0.9 - loss / 2),
        "difference": figure(-loss / 2, 0.01),
        "cost_usd_micros": figure(500 - 400 * coverage, 5),
        "saving_usd_micros": figure(400 * coverage, 5),
        "saving_a_month_usd_micros": figure(1e9 * coverage, 1e7),
        "in_force": False,
    }
    return Choice(**{**fields, **changes})


def document(**changes: Any) -> Frontier:
    """A task that is routed at a bound of 2%."""
    now = choice(0.02, 0.3, in_force=True)
    rising = (0.6, 0.7, 0.8, 0.88, 0.9)
    fields: dict[str, Any] = {
        "task": "default",
        "router": ROUTER,
        "fitted": ROUTER,
        "mode": "route",
        "sequence": 1,
        "max_quality_loss": 0.02,
        "by_hand": False,
        "confidence": 0.95,
        "together": 0.991,
        "certify_on": "trusted",
        "judged_by": (),
        "interval_confidence": 0.95,
        "pairs": PAIRS,
        "calibration": 300,
        "later": 100,
        "points": tuple(
            Point(share, quality, quality - 0.03, quality + 0.03, 100 + 400 * share)
            for share, quality in zip(SHARES, rising, strict=True)
        ),
        "baselines": (
            Baseline("router", rising, figure(0.75)),
            Baseline("kNN", (0.6, 0.68, 0.77, 0.85, 0.9), figure(0.7)),
            Baseline("random", (0.6, 0.675, 0.75, 0.825, 0.9), figure(0.5)),
        ),
        "strong": figure(0.9),
        "small": figure(0.6),
        "strong_usd_micros": 500.0,
        "small_usd_micros": 100.0,
        "operating": now,
        "choices": (choice(0.005, 0), now, choice(0.03, 0.45), choice(0.05, 0.6)),
        "requests_a_month": 3_000_000.0,
        "counted_days": 28.0,
        "rent_a_month_usd_micros": 0.0,
        "missing": (),
    }
    return Frontier(**{**fields, **changes})


def kept(ledger: Ledger, found: Frontier) -> Frontier:
    """The document, kept as the workers keep it."""
    Summaries(ledger).keep("default", FRONTIER, to_json(found))
    return found


def route(ledger: Ledger, **changes: Any) -> None:
    """Put the document's router in force."""
    to = Deployed(Mode.ROUTE, ROUTER)._replace(**changes)
    assert Registry(ledger).promote("default", to, actor="auto", reason="certified", evidence={}, after=0)


def of_another_version(ledger: Ledger) -> None:
    """Keep a document that this version cannot read."""
    Summaries(ledger).keep("default", FRONTIER, msgspec.json.encode({"task": "default"}))
