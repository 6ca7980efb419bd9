"""What the ledger holds, read back as a test wants to see it; and promotions written as the workers do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sqlalchemy import select

from router.features import STRUCTURE
from router.model import RouterModel, Weights
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry


def only_request(ledger: Ledger) -> Any:
    """The only request there is."""
    (request,) = ledger.rows(select(schema.requests))
    return request


def request_of(ledger: Ledger, request: str) -> Any:
    """One request."""
    (found,) = ledger.rows(select(schema.requests).where(schema.requests.c.id == request))
    return found


def decision_of(ledger: Ledger, request: str) -> Any:
    """The decision of a request."""
    (found,) = ledger.rows(select(schema.decisions).where(schema.decisions.c.request == request))
    return found


def calls_of(ledger: Ledger, request: str) -> list[Any]:
    """The calls of a request, in order."""
    table = schema.calls
    return list(ledger.rows(select(table).where(table.c.request == request).order_by(table.c.at)))


def count(ledger: Ledger, table: str) -> int:
    """How many rows a table has."""
    return len(ledger.rows(select(schema.metadata.tables[table])))


def router_that_prefers(small: bool) -> RouterModel:
    """A real router that sends every prompt to small, or none."""
    sizes = len(STRUCTURE)
    weights = Weights(
        buckets=np.array([1.0]),
        idf=np.ones(1),
        text=np.zeros((1, 2)),
        centre=np.zeros(sizes),
        scale=np.ones(sizes),
        structure=np.zeros((sizes, 2)),
        intercept=np.array([1.0, 0.5]),
        clip=np.array(3.0),
    )
    return RouterModel(weights, threshold=1.0 if small else -math.inf)


def promote(ledger: Ledger, mode: Mode, content: bytes | None = None, task: str = "default") -> str | None:
    """Put a mode, and a router where its bytes are given, in force. Returns the router's id."""
    registry = Registry(ledger)
    current = registry.current(task)
    artifact = registry.keep("router", task, content, settings={}, summary={}).id if content else None
    promoted = registry.promote(
        task,
        Deployed(mode, artifact),
        actor="test",
        reason="test",
        evidence={},
        after=current.sequence if current else 0,
    )
    assert promoted
    return artifact
