"""What a person may choose at a task's router: the certificates that its fit made, for all bounds at once.

Invariant: a choice never fits anything and looks at no label; it takes one of the thresholds that were
certified when the router was fitted. Whichever router is in force, the choices are those of the fit that it
comes from.
"""

from __future__ import annotations

from typing import NamedTuple

from evals.promotion import CHOICES
from router.fitting.bound import Certificate
from router.fitting.grid import best_within, from_values
from stepdown.errors import ArtifactError
from stepdown.records import Artifact
from stepdown.registry import Registry

CERTIFIED_ON = "certified_on"
GRID = "grid"


class Offer(NamedTuple):
    """What a fit certified.

    Attributes:
        fitted: The router as it was fitted.
        own: The certificate of its own threshold.
        choices: Those of the grid, by their losses; empty where the fit offered none.
    """

    fitted: Artifact
    own: Certificate
    choices: tuple[Certificate, ...]

    @property
    def together(self) -> float:
        """The confidence with which all of them hold at once."""
        return 1 - self.own.delta - sum(choice.delta for choice in self.choices)

    def best(self, loss: float) -> Certificate | None:
        """The certificate for no more than a loss that gives small the most; None where none gives any."""
        return best_within((self.own, *self.choices), loss)

    def tried(self, loss: float) -> Certificate:
        """The certificate that was tried for a loss or the next stricter one; else the strictest of all."""
        every = sorted((*self.choices, self.own), key=lambda one: (one.epsilon, one.delta))
        return next((one for one in reversed(every) if one.epsilon <= loss), every[0])

    def why_not(self, loss: float) -> str:
        """Why nothing is certified at a loss at which `best` finds nothing."""
        tried = self.tried(loss)
        if tried.epsilon <= loss:
            return tried.reason
        strictest = f"{tried.epsilon:g} is the strictest bound that the router was tried for"
        return f"{strictest}; the next fit tries {loss:g}"


def offer_of(registry: Registry, router: Artifact) -> Offer:
    """What may be chosen at a router.

    Raises:
        ArtifactError: The router that it was chosen from is missing or corrupt, or says nothing of its bound.
    """
    chosen = router.settings.get(CERTIFIED_ON) == GRID
    fitted = registry.artifact(router.parents[0]) if chosen else router
    try:
        own = from_values(fitted.summary["certificate"])
        choices = tuple(from_values(values) for values in fitted.summary.get(CHOICES, ()))
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"router {fitted.id!r} has no certificate that can be read ({error}); the next fit makes one"
        ) from error
    return Offer(fitted, own, tuple(sorted(choices, key=lambda one: one.epsilon)))
