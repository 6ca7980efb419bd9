"""When to stop practising: a round that does not help is the last.

The rule. A round *hurts* where the interval of its gain lies at or below 0: it is the last at once. A round
is *without a gain* where the interval does not lie above 0, or where nothing was worth keeping: two of these
in a row are the last. A round whose student is not there yet, or that was compared on fewer than
`LEAST_PROMPTS` prompts, is not known, and says neither.

Why two. A night's comparison has a few hundred prompts, on which a real gain of two or three points is mostly
not significant: to stop at the first such round would stop most chains that help. What a needless round costs
is one night's sampling of the small model, the cheapest calls there are, and the gate keeps a student that
learnt nothing good from any traffic; what stopping too early costs is the gain of all rounds to come. So an
inconclusive round gets one more try, and a harmful one none.

A chain of rounds is of one base, one way of sampling and one set of checks: with another of these the rounds
begin anew. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics.intervals import Estimate

LEAST_PROMPTS = 20


@dataclass(frozen=True, slots=True)
class Round:
    """A round as far as the rule needs it.

    Attributes:
        number: Of the round.
        kept: Samples worth learning.
        gain: None where it is not known.
    """

    number: int
    kept: int
    gain: Estimate | None

    @property
    def known(self) -> bool:
        """Whether it is known what the round brought."""
        return not self.kept or (self.gain is not None and self.gain.n >= LEAST_PROMPTS)

    @property
    def hurt(self) -> bool:
        """Whether it is known to have brought nothing, or worse."""
        return bool(self.kept) and self.known and self.gain is not None and self.gain.high <= 0

    @property
    def without_gain(self) -> bool:
        """Whether it is known and its gain is not."""
        return self.known and (self.gain is None or not self.kept or self.gain.low <= 0)


def why_over(chain: Sequence[Round], most: int) -> str | None:
    """Why there is to be no further round, or None.

    Args:
        chain: The rounds so far, the first one first.
        most: `practice_rounds`.
    """
    if len(chain) >= most:
        return f"{len(chain)} rounds were made, and practice_rounds is {most}"
    known = [one for one in chain if one.known]
    if known and known[-1].hurt:
        last = known[-1]
        return f"round {last.number} did not help: its gain is {words(last.gain)}"
    if len(known) >= 2 and known[-1].without_gain and known[-2].without_gain:
        numbers = f"{known[-2].number} and {known[-1].number}"
        return f"rounds {numbers} were without a gain: {words(known[-2].gain)}, {words(known[-1].gain)}"
    return None


def words(gain: Estimate | None) -> str:
    """A gain in words."""
    if gain is None:
        return "nothing was worth keeping"
    if not gain.n:
        return "not known: both students were labelled on no common prompt"
    return f"{gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}] on {gain.n:,} prompts"
