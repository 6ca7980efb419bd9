"""What a call costs, in integer micro-dollars. Unknown is not zero.

A price per million tokens in dollars is a price per token in micro-dollars, so no unit is converted.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stepdown.settings import ModelSettings, Settings, TaskSettings

MICROS_PER_USD = 1_000_000
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of one model in dollars per million tokens."""

    input: float
    cached: float
    output: float

    def cost_usd_micros(
        self, prompt: int | None, completion: int | None, cached: int | None = None
    ) -> int | None:
        """Cost of a call, rounded to a micro-dollar; None where its tokens are not known."""
        if prompt is None or completion is None:
            return None
        hit = min(cached or 0, prompt)
        return round((prompt - hit) * self.input + hit * self.cached + completion * self.output)


def price_of(model: ModelSettings) -> Price | None:
    """The price in the settings, else the one in litellm's own list where litellm is installed.

    A model that is rented by the hour costs nothing a token unless its settings say so. litellm is not
    imported: only its price list is read.
    """
    if model.input_usd_per_million is not None and model.output_usd_per_million is not None:
        cached = model.cached_usd_per_million
        return Price(
            model.input_usd_per_million,
            model.input_usd_per_million if cached is None else cached,
            model.output_usd_per_million,
        )
    if model.usd_per_hour > 0:
        return Price(0.0, 0.0, 0.0)
    listed = _litellm_prices().get(model.model, {})
    if "input_cost_per_token" not in listed or "output_cost_per_token" not in listed:
        return None
    paid = listed["input_cost_per_token"]
    return Price(
        paid * 1e6,
        listed.get("cache_read_input_token_cost", paid) * 1e6,
        listed["output_cost_per_token"] * 1e6,
    )


def rent_usd_micros(usd_per_hour: float, seconds: float) -> float:
    """What a machine costs that is rented by the hour, not rounded."""
    return usd_per_hour * MICROS_PER_USD * seconds / HOUR_S


def rented_per_hour(settings: Settings, task: TaskSettings) -> float:
    """A task's part of the rent of its small model, in dollars an hour.

    The tasks that declare the same small model share its rent evenly, so that together they pay it once.
    """
    model = settings.models.get(task.small or "")
    sharing = sum(other.small == task.small for other in settings.tasks.values())
    return model.usd_per_hour / max(1, sharing) if model else 0.0


@cache
def _litellm_prices() -> dict[str, dict[str, Any]]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    file = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    prices: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    return prices
