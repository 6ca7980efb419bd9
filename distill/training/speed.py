"""How fast a training will be: as the settings say, as the last one was, or a guess.

Invariant: a guess says that it is one, and its range is wider. Reads summaries of students from the ledger.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from distill.training.headers import Size
from distill.training.memory import Range
from distill.training.plan import Plan
from stepdown.ledger import Ledger, schema
from stepdown.settings import Settings
from stepdown.students import STUDENT

STATED, MEASURED, GUESSED = (0.75, 1.33), (0.67, 1.5), (0.33, 3.0)
NEWEST = 50
FLOPS = {
    "cpu": 6e10,
    "cuda": 6e13,
}  # of a core and of a card, at the share of their best that training reaches
CEILING = {"cpu": 500.0, "cuda": 1e5}  # tokens a second that no small model is likely to exceed, likewise
STARTING = Range(10.0, 25.0, 60.0)  # seconds until the first step: libraries and weights are read
PASSES = {"lora": 4.0, "full": 6.0}  # floating-point operations for each parameter and token
SLOWER = {"sft": 1.0, "gkd": 4.0}  # gkd has a teacher read as well, and half of its answers sampled first
FORWARD_SHARE = 1 / 3  # of a training step that a validation costs


class Speed(NamedTuple):
    """Tokens a second, over all devices, and where the number is from."""

    tokens_per_s: Range
    source: str


def speed(ledger: Ledger, settings: Settings, plan: Plan, size: Size, device: str, count: int) -> Speed:
    """How fast a training will be.

    Args:
        ledger: Where earlier trainings are.
        settings: All settings.
        plan: Of the run.
        size: Of the student.
        device: `cpu` or `cuda`.
        count: Of cores, or of cards.

    Raises:
        LedgerError: It cannot be read.
    """
    if stated := settings.trainer.tokens_per_s:
        return Speed(_range(stated, STATED), "trainer.tokens_per_s")
    if measured := last_measured(ledger, plan):
        return Speed(_range(measured, MEASURED), "the last training of this base")
    working = count if device == "cpu" else plan.processes
    guess = working * min(FLOPS[device] / (PASSES[plan.method] * size.parameters), CEILING[device])
    guess /= SLOWER[plan.objective]
    return Speed(_range(guess, GUESSED), f"a guess for {count} {'cores' if device == 'cpu' else 'cards'}")


def _range(likely: float, width: tuple[float, float]) -> Range:
    return Range(likely * width[0], likely, likely * width[1])


def last_measured(ledger: Ledger, plan: Plan) -> float | None:
    """Tokens a second of the newest training of the same base by the same method, or None."""
    table = schema.artifacts
    newest = select(table.c.settings, table.c.summary).where(table.c.kind == STUDENT)
    for row in ledger.rows(newest.order_by(table.c.at.desc()).limit(NEWEST)):
        same = all(
            row.settings.get(name) == getattr(plan, name)
            for name in ("base", "method", "objective", "processes")
        )
        measured = row.summary.get("tokens_per_s")
        if same and isinstance(measured, int | float) and measured > 0:
            return float(measured)
    return None


def seconds(tokens: float, at: Speed) -> Range:
    """Time for so many tokens, the start of the process included."""
    slow, likely, fast = at.tokens_per_s
    takes = (tokens / fast, tokens / likely, tokens / slow)
    return Range(*(start + training for start, training in zip(STARTING, takes, strict=True)))
