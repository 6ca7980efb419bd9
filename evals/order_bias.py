"""Judges that go by the order in which answers are shown: their word is no evidence.

A pairwise judge is asked in both orders, and where these disagree the pair is a tie, which calls both answers
good. A judge that always takes the first would so call all answers good, and the small model as good as the
strong one. So a judge whose ties by disagreement are, beyond chance, more than half of what it ruled on is
left out of all verdicts, until its newer labels say otherwise.

Invariant: pairs with identical answers, on which no judge was asked, speak neither for nor against it; the
labels of one prompt count as one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import and_, select

from evals.judge.combine import ORDERS_DISAGREED
from evals.judge.settle import IDENTICAL
from evals.metrics.intervals import Estimate, mean_outcome
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema
from stepdown.records import Tier, Verdict

MOST_BY_ORDER = 0.5


class Ruled(NamedTuple):
    """A judge's newest label of one pair."""

    prompt: str
    by_order: bool


def going_by_order(ledger: Ledger, task: str) -> dict[str, Estimate]:
    """The judges of a task that go by the order, each with the share of pairs in which it did.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rates = {name: _rate(list(ruled.values())) for name, ruled in _rulings(ledger, task).items()}
    return {name: rate for name, rate in sorted(rates.items()) if rate.low > MOST_BY_ORDER}


def order_lines(by_order: Mapping[str, Estimate]) -> tuple[str, ...]:
    """Who is left out, in words."""
    return tuple(
        f"{name} goes by the order of the answers, in {rate.value:.0%} of {rate.n} pairs: its labels count "
        "for nothing"
        for name, rate in by_order.items()
    )


def _rate(ruled: list[Ruled]) -> Estimate:
    return mean_outcome([one.by_order for one in ruled], groups=[one.prompt for one in ruled])


def _rulings(ledger: Ledger, task: str) -> dict[str, dict[str, Ruled]]:
    """What each judge said of the strong answer of each pair, the newest label last written."""
    r, c, label = schema.requests, schema.calls, schema.labels
    by_order = and_(label.c.score == 0.5, label.c.evidence.contains(ORDERS_DISAGREED, autoescape=True))
    query = (
        select(label.c.labeller, label.c.subject, r.c.prompt_hash, by_order.label("by_order"))
        .select_from(label.join(c, c.c.id == label.c.subject).join(r, r.c.id == c.c.request))
        .where(
            r.c.task == task,
            c.c.tier == Tier.STRONG,
            label.c.labeller.startswith(labeller_name(Kind.JUDGE, ""), autoescape=True),
            label.c.verdict != Verdict.UNSCORED,
            ~label.c.evidence.contains(IDENTICAL.words, autoescape=True),
        )
        .order_by(label.c.at, label.c.version)
    )
    found: dict[str, dict[str, Ruled]] = defaultdict(dict)
    for row in ledger.rows(query):
        found[row.labeller][row.subject] = Ruled(row.prompt_hash, bool(row.by_order))
    return found
