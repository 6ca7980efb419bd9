"""What a change of a task's bound would change, as a diff for a person to review.

Invariant: it says what is in force and what would be, with the certificate of the latter and the promotion
that it was worked out from. Pure; it knows nothing of how either side is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from evals.frontier.tree import Figure
from evals.report.layout import dollars

NAMES_SHOWN = 12


class Side(Struct, frozen=True, kw_only=True):
    """What is, or would be, in force.

    Attributes:
        router: Artifact id, or None.
        threshold: Small iff gain <= threshold; None where nothing goes to small.
        coverage: Share of held-out requests that small answers; None where it was not worked out, as are
        difference: quality less always-strong's, and
        saving_a_month_usd_micros: against always-strong.
    """

    mode: str
    router: str | None
    threshold: float | None
    max_quality_loss: float
    coverage: Figure | None
    difference: Figure | None
    saving_a_month_usd_micros: Figure | None


class Change(NamedTuple):
    """One line of the diff, in words."""

    name: str
    before: str
    after: str


class Proposal(Struct, frozen=True, kw_only=True):
    """What setting a bound would change.

    Attributes:
        asked: The bound.
        after: Sequence of the promotion that it was worked out from; 0 is none.
        confidence: With which all bounds of the task hold over its life.
        together: With which all that the router's fit certified holds at once; None where no router is in
            force.
        certificate: Of the threshold to be; None where nothing goes to small by a router.
        notes: What a person should know before they say yes.
    """

    task: str
    asked: float
    after: int
    before: Side
    to: Side
    confidence: float
    together: float | None
    certificate: Mapping[str, Any] | None
    notes: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is before and what would be after, whether it changes or not."""
        before, to = self.before, self.to
        return (
            Change("allowed quality loss", _percent(before.max_quality_loss), _percent(to.max_quality_loss)),
            Change("mode", before.mode, to.mode),
            Change("router", _name(before.router), _name(to.router)),
            Change("threshold", _number(before.threshold), _number(to.threshold)),
            Change("coverage expected", _share(before.coverage), _share(to.coverage)),
            Change("quality less strong's", _share(before.difference), _share(to.difference)),
            Change(
                "saving a month",
                _money(before.saving_a_month_usd_micros),
                _money(to.saving_a_month_usd_micros),
            ),
        )

    @property
    def promise(self) -> str | None:
        """What is certified of the threshold to be, in words."""
        found = self.certificate
        if found is None:
            return None
        return (
            f"{found['regrets']:,} regrets among {found['n']:,} calibration prompts: at most "
            f"{_percent(found['upper'])} of requests, with confidence {100 * (1 - found['delta']):.5g}%; all "
            f"that this router's fit offers holds at once with confidence {100 * (self.together or 0.0):.5g}%"
        )

    def lines(self) -> list[str]:
        """The diff as text."""
        shown = [f"task {self.task}, after promotion {self.after}"]
        for name, before, after in self.changes:
            shown.append(f"  {name:<22} {before}" + (f"  ->  {after}" if before != after else ""))
        if self.promise is not None:
            shown.append(f"  {'certified':<22} {self.promise}")
        return [*shown, *(f"  note: {note}" for note in self.notes)]


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _name(router: str | None) -> str:
    return router[:NAMES_SHOWN] if router else "none"


def _number(threshold: float | None) -> str:
    return "none" if threshold is None else f"{threshold:.4f}"


def _share(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "not known"
    ends = ", ".join("?" if end is None else f"{100 * end:.1f}" for end in (figure.low, figure.high))
    return f"{100 * figure.value:.1f}% [{ends}] n={figure.n:,}"


def _money(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "not known"
    ends = ", ".join("?" if end is None else dollars(end) for end in (figure.low, figure.high))
    return f"{dollars(figure.value)} [{ends}] n={figure.n:,}"
