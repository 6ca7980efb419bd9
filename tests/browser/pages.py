"""The pages of the showcase by name, as one would come to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from sqlalchemy import select

from bench.dashboard.showcase import SUMS
from stepdown.ledger import Ledger, schema

DISTILS = f"task={SUMS}"

Address = Callable[[Ledger], str]


def _newest(ledger: Ledger, kind: str) -> str:
    table = schema.artifacts
    query = select(table.c.id).where(table.c.kind == kind, table.c.task == SUMS).order_by(table.c.at.desc())
    return str(ledger.rows(query.limit(1))[0].id)


def pair(ledger: Ledger) -> str:
    """The newest request of the demo with both answers."""
    requests, decisions = schema.requests, schema.decisions
    joined = requests.join(decisions, decisions.c.request == requests.c.id)
    query = (
        select(requests.c.id).select_from(joined).where(decisions.c.shadowed, requests.c.task == "default")
    )
    return str(ledger.rows(query.order_by(requests.c.at.desc()).limit(1))[0].id)


def _night(ledger: Ledger) -> str:
    query = select(schema.nights.c.id).order_by(schema.nights.c.at).limit(1)
    return str(ledger.rows(query)[0].id)


def at(path: str) -> Address:
    """An address that is the same in every ledger."""
    return lambda _: path


PAGES: Mapping[str, Address] = {
    "overview": at("/"),
    "overview of a day": at("/?range=24h"),
    "overview of all": at(f"/?range=all&{DISTILS}"),
    "frontier": at("/frontier"),
    "bound under review": at("/frontier/bound?loss=0.1"),
    "slices": at("/slices"),
    "requests": at("/requests"),
    "requests that fit": at("/requests?tier=small&verdict=bad"),
    "requests that do not": at("/requests?text=nobody+ever+asked+this"),
    "live requests": at("/requests?live=1"),
    "one request": lambda ledger: f"/requests/{pair(ledger)}",
    "playground": at("/playground"),
    "labels": at("/labels"),
    "students": at(f"/students?{DISTILS}"),
    "student": lambda ledger: f"/students/{_newest(ledger, 'student')}?{DISTILS}",
    "nights": at(f"/nights?{DISTILS}"),
    "night": lambda ledger: f"/nights/{quote(_night(ledger))}?{DISTILS}",
    "night to start": at(f"/nights/start?{DISTILS}"),
    "promotions": at("/promotions"),
    "promotions of students": at(f"/promotions?{DISTILS}"),
    "promotion": at("/promotions/1"),
    "move under review": at("/promotions/move?mode=strong"),
    "rollback under review": at("/promotions/rollback"),
}
