"""A task whose small model is certain at sums, wavers at products and fails at riddles; and its router."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from evals.frontier import Frontier, frontier_document
from evals.outcomes import read_outcomes
from evals.refit import refit
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from tests.evals.ledgers import START, Writer
from tests.evals.report import scene as report_scene

TASK = "default"
KINDS = 3
COSTS = (200, 20)
LATER = timedelta(days=3)


def settings(*, max_quality_loss: float = 0.05, usd_per_hour: float = 0.0) -> Settings:
    """Settings with both prices known and a bound."""
    read = report_scene.settings(usd_per_hour=usd_per_hour, min_labels=50)
    task = msgspec.structs.replace(read.tasks[TASK], max_quality_loss=max_quality_loss, exploration=0.1)
    return msgspec.structs.replace(read, tasks={TASK: task})


def write(writer: Writer, start: int, stop: int, *, costs: tuple[int | None, int | None] = COSTS) -> None:
    """Pairs of prompts: a sum, a product that small gets wrong one time in eight, a riddle, and so on."""
    with writer.together():
        for n in range(start, stop):
            asked = (f"add one to {n}", f"multiply {n} by thirteen, please", f"what am I, said the {n}th?")
            prompt = asked[n % KINDS]
            small = (True, n // KINDS % 8 != 0, False)[n % KINDS]
            writer.pair(prompt, True, small, costs=costs)


def fit(ledger: Ledger, declared: Settings) -> str:
    """Fit a router; returns its id."""
    done = refit(ledger, TASK, declared.tasks[TASK])
    assert done.router is not None, done.why_not
    return done.router


def document(ledger: Ledger, declared: Settings) -> Frontier:
    """The frontier as of three days after the start."""
    outcomes = read_outcomes(ledger, TASK)
    found = frontier_document(ledger, declared, TASK, outcomes, at=START + LATER)
    assert found is not None
    return found
