"""Puts what happened within minutes into weeks, so that pages show a history.

Invariant: order stays as it was, and the time between two knots is stretched evenly; only times change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, case, cast, literal_column, type_coerce, update

from stepdown.ledger import Ledger, schema
from stepdown.ledger.schema import EPOCH, MICROSECOND

LEFT = {schema.heartbeats.name, schema.summaries.name, schema.replicas.name}  # of now, whenever that is


class Knot(NamedTuple):
    """A moment, and where it is put."""

    was: datetime
    becomes: datetime


def spread(ledger: Ledger, knots: Sequence[Knot]) -> None:
    """Move the times of all records.

    Args:
        ledger: Whose; counts by the hour and summaries are dropped, for they are made from the times.
        knots: At least two, in ascending order; what is before the first or after the last is moved by the
            stretch next to it.

    Raises:
        LedgerError: The ledger refused.
    """
    with ledger.writing() as connection:
        for table in schema.metadata.sorted_tables:
            if "at" in table.c and table.name not in LEFT:
                connection.execute(update(table).values({table.c.at: _moved(table.c.at, knots)}))
        for made in (schema.request_hours, schema.call_hours, schema.summaries):
            connection.execute(made.delete())


def _moved(at: ColumnElement[Any], knots: Sequence[Knot]) -> ColumnElement[Any]:
    was = type_coerce(at, BigInteger)
    stretches = [_stretch(was, first, second) for first, second in pairwise(knots)]
    ends = [was < _micros(knot.was) for knot in knots[1:]]
    return case(*zip(ends, stretches, strict=True), else_=stretches[-1])


def _stretch(was: ColumnElement[int], first: Knot, second: Knot) -> ColumnElement[int]:
    factor = (second.becomes - first.becomes) / (second.was - first.was)
    start = literal_column(str(_micros(first.becomes)), BigInteger)
    return start + cast((was - _micros(first.was)) * literal_column(repr(factor)), BigInteger)


def _micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND
