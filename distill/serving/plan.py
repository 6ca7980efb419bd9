"""What a server of adapters is to load and to unload, given what is wanted and what it has.

Invariant: a name that is wanted is never unloaded, nor is a base model, nor what traffic pointed at a moment
ago. Pure: knows neither servers nor the registry.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from stepdown.settings import Settings
from stepdown.students import is_served_name

LONGEST_REQUEST_TIMEOUTS = 2
RELOADS = 10


@dataclass(frozen=True, slots=True)
class Adapter:
    """A student as a server is to have it.

    Attributes:
        name: Under which it is served.
        path: Of its files, as the server sees them.
    """

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Card:
    """A model that a server lists.

    Attributes:
        root: The path that it was loaded from.
        parent: The base model of an adapter; None is a base model.
    """

    name: str
    root: str = ""
    parent: str | None = None


class Deed(enum.StrEnum):
    """What is done to an adapter; one is reloaded where an older or other path is under its name."""

    LOAD = "load"
    RELOAD = "reload"
    UNLOAD = "unload"


class Step(NamedTuple):
    """One thing to do."""

    deed: Deed
    name: str
    path: str


def plan(
    wanted: Sequence[Adapter],
    has: Sequence[Card],
    *,
    left: Mapping[str, datetime],
    at: datetime,
    grace: timedelta,
) -> list[Step]:
    """What is to be done to a server, in this order.

    Args:
        wanted: What it should have, the most important first.
        has: What it lists.
        left: When traffic last had reason to ask for a student, by served name. A student that is not in it
            was never in force, and no request can be for it.
        at: Now.
        grace: How long after that a request may still come, or be under way.
    """
    adapters = {card.name: card for card in has if card.parent is not None}
    steps = []
    for adapter in wanted:
        if adapter.name not in adapters:
            steps.append(Step(Deed.LOAD, adapter.name, adapter.path))
        elif adapters[adapter.name].root != adapter.path:
            steps.append(Step(Deed.RELOAD, adapter.name, adapter.path))
    kept = {adapter.name for adapter in wanted}
    for name, card in adapters.items():
        over = name not in left or at - left[name] > grace
        if is_served_name(name) and name not in kept and over:
            steps.append(Step(Deed.UNLOAD, name, card.root))
    return steps


def grace_of(settings: Settings, alias: str) -> timedelta:
    """How long after a promotion a request may still be for what was in force before it.

    The proxies see a promotion some reloads late, and their last request may take its time.
    """
    longest_s = LONGEST_REQUEST_TIMEOUTS * settings.models[alias].timeout_s
    return timedelta(seconds=RELOADS * settings.proxy.reload_s + longest_s)
