"""However many records are appended at once, each is there once, with its own values."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from stepdown.errors import LedgerError
from stepdown.ledger import Body, Ledger, schema
from stepdown.ledger.inserts import BLOCK
from tests.records import a_call, a_request


@pytest.mark.parametrize("count", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_any_number_of_records_keeps_its_values(ledger: Ledger, count: int) -> None:
    requests = [a_request(latency_ms=float(number), stream=bool(number % 2)) for number in range(count)]
    bodies = [Body.of(b"body %d" % number) for number in range(count)]
    ledger.append([record for pair in zip(requests, bodies, strict=True) for record in pair])
    kept: dict[str, Any] = {row.id: row for row in ledger.rows(select(schema.requests))}
    assert len(kept) == count
    for request in requests:
        row = kept[request.id]
        assert (row.at, row.latency_ms, row.stream) == (request.at, request.latency_ms, request.stream)
    assert all(ledger.body(body.digest) == body.content for body in bodies)


def test_the_same_body_twice_in_one_statement_is_kept_once(ledger: Ledger) -> None:
    ledger.append([Body.of(b"same"), Body.of(b"other"), Body.of(b"same"), Body.of(b"")])
    kept = ledger.rows(select(schema.bodies.c.size).order_by(schema.bodies.c.size))
    assert [row.size for row in kept] == [0, 4, 5]


def test_enums_come_back_as_text_and_can_be_asked_for(ledger: Ledger) -> None:
    call = a_call()
    ledger.append([call])
    (row,) = ledger.rows(select(schema.calls).where(schema.calls.c.role == call.role))
    assert (row.role, type(row.role)) == ("live", str)


def test_a_record_of_the_last_statement_that_is_refused_takes_all_back(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="refused a write"):
        ledger.append([*(a_call() for _ in range(BLOCK)), a_call(model=None)])
    assert not ledger.rows(select(schema.calls))
