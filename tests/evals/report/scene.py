"""A small task with a router made by hand, whose every figure can be computed on paper."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from router.features import STRUCTURE
from router.model import RouterModel, Weights
from stepdown.ledger import Ledger
from stepdown.records import Artifact, Mode, Promotion, Tier
from stepdown.registry import artifact_id
from stepdown.settings import Settings, load_settings
from tests.evals.ledgers import START, Writer

EPSILON, DELTA = 0.05, 0.05
KINDS = ("statement", "question")
TOKENS = (10, 20)
COSTS = (180, 10)  # 10 tokens at 2 and 20 at 8 micro-dollars; small is 10 in all


def settings(*, usd_per_hour: float = 0.0, min_labels: int = 20) -> Settings:
    """Settings with both prices known."""
    strong = {"model": "large-1", "input_usd_per_million": 2.0, "output_usd_per_million": 8.0}
    small = {
        "model": "tiny-1",
        "input_usd_per_million": 0.0,
        "output_usd_per_million": 0.5,
        "usd_per_hour": usd_per_hour,
    }
    return load_settings(
        Path("/dev/null"),
        environ={},
        overrides={
            "models": {"strong": strong, "small": small},
            "tasks": {"default": {"small": "small", "min_labels": min_labels}},
        },
    )


def hand_made_router() -> RouterModel:
    """A router that thinks small is bad at prompts with a question mark, and good at all others."""
    structure = np.zeros((len(STRUCTURE), 2))
    structure[STRUCTURE.index("questions"), 1] = -4.0
    width = len(STRUCTURE)
    weights = Weights(
        buckets=np.zeros(0),
        idf=np.zeros(0),
        text=np.zeros((0, 2)),
        centre=np.zeros(width),
        scale=np.ones(width),
        structure=structure,
        intercept=np.array([2.0, 2.0]),
        clip=np.array(5.0),
    )
    return RouterModel(weights, threshold=0.1)


def promote(ledger: Ledger, *, after_minutes: int) -> str:
    """Put the router in force as if it was made that long after the start; returns its id."""
    certificate = {
        "threshold": 0.1,
        "coverage": 0.5,
        "regrets": 1,
        "served": 20,
        "n": 40,
        "epsilon": EPSILON,
        "delta": DELTA / 2,
        "upper": 0.0432,
        "tested": 3,
        "reason": "certified",
    }
    content, at = hand_made_router().to_bytes(), START + timedelta(minutes=after_minutes)
    settings = {"epsilon": EPSILON, "delta": DELTA, "seed": 0}
    router = Artifact(
        id=artifact_id("router", "default", content, parents=(), settings=settings),
        kind="router",
        task="default",
        at=at,
        content=content,
        settings=settings,
        summary={"certificate": certificate},
    )
    move = Promotion(
        task="default",
        sequence=1,
        at=at,
        mode=Mode.ROUTE,
        artifact=router.id,
        actor="auto",
        reason="certified",
    )
    ledger.append([router, move])
    return router.id


def play(ledger: Ledger, *, shadowed: int = 60, routed: int = 40) -> Writer:
    """A shadow phase, a promotion, and a route phase in which every other pair of requests is explored.

    Every second prompt is a question: small is wrong there, and strong right but for every tenth.
    """
    writer = Writer(ledger)
    with writer.together():
        _shadow_phase(writer, shadowed)
    policy = promote(ledger, after_minutes=next(writer.numbers))
    with writer.together():
        _route_phase(writer, routed, policy)
    return writer


def _shadow_phase(writer: Writer, count: int) -> None:
    for i in range(count):
        asks = i % 2
        prompt = f"prompt {i}{'?' * asks}"
        writer.pair(prompt, i % 10 != 9, not asks, costs=COSTS, tokens=TOKENS, kind=KINDS[asks])


def _route_phase(writer: Writer, count: int, policy: str) -> None:
    for i in range(count):
        asks = i % 2
        prompt, gain = f"later prompt {i}{'?' * asks}", 0.5 if asks else 0.0
        more: dict[str, Any] = {"policy": policy, "threshold": 0.1, "kind": KINDS[asks], "tokens": TOKENS}
        if i % 4 >= 2:
            writer.explored(prompt, i % 10 != 9, not asks, gain, costs=COSTS, **more)
        else:
            tier = Tier.STRONG if asks else Tier.SMALL
            writer.routed(prompt, tier, True, cost=COSTS[not asks], gain=gain, **more)
