"""What a task's router could do at other bounds: the document behind the slider of the allowed quality loss.

`frontier_document` makes it from a ledger, `to_json` writes what the workers keep, `kept_frontier` reads
that, and `Frontier.at` says what a bound buys.
"""

from evals.frontier.build import frontier_document
from evals.frontier.kept import kept_frontier
from evals.frontier.tree import FRONTIER, Choice, Figure, Frontier, to_json

__all__ = [
    "FRONTIER",
    "Choice",
    "Figure",
    "Frontier",
    "frontier_document",
    "kept_frontier",
    "to_json",
]
