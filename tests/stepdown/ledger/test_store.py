"""The ledger keeps what it is given, once, and refuses what it cannot keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, inspect, select, update

from stepdown.errors import LedgerError
from stepdown.ids import digest
from stepdown.ledger import Body, Ledger, schema
from stepdown.ledger.bodies import compress_all, decompress
from stepdown.ledger.store import TABLES
from stepdown.records import Artifact, Mode, Promotion
from tests.records import a_call, a_decision, a_label, a_request

ON_BOTH_DATABASES = True


def count(ledger: Ledger, table: str) -> int:
    return int(ledger.rows(select(func.count()).select_from(schema.metadata.tables[table]))[0][0])


def test_records_come_back_as_they_went_in(ledger: Ledger) -> None:
    at = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    request = a_request(at=at, reference='"42"', slice="sums", conversation="c1")
    call = a_call(request=request.id, cost_usd_micros=None, prompt_tokens=7)
    ledger.append([request, a_decision(request=request.id), call, Body.of(b"hello")])
    kept = ledger.rows(select(schema.requests))[0]
    assert dict(kept._mapping) == {f: getattr(request, f) for f in request.__dataclass_fields__}
    assert ledger.rows(select(schema.calls.c.cost_usd_micros))[0][0] is None
    assert ledger.body(digest(b"hello")) == b"hello"


@pytest.mark.parametrize(
    "record", [a_request(), a_decision(), a_call(), a_label(), Body.of(b"x")], ids=lambda r: type(r).__name__
)
def test_appending_twice_changes_nothing(ledger: Ledger, record: object) -> None:
    ledger.append([record])  # type: ignore[list-item]
    ledger.append([record])  # type: ignore[list-item]
    assert count(ledger, TABLES[type(record)].name) == 1


def test_a_second_label_of_another_version_is_another_record(ledger: Ledger) -> None:
    label = a_label()
    ledger.append([label, replace(label, version="2")])
    assert count(ledger, "labels") == 2


def test_a_taken_promotion_sequence_is_refused(ledger: Ledger) -> None:
    promotion = Promotion(
        task="t", sequence=1, at=a_request().at, mode=Mode.SHADOW, artifact=None, actor="auto", reason="r"
    )
    ledger.append([promotion])
    with pytest.raises(LedgerError, match=r"refused a write: .*(UNIQUE|unique)") as refused:
        ledger.append([promotion])
    assert "INSERT" not in str(refused.value), "what the database was told is for no page"
    assert count(ledger, "promotions") == 1


def test_a_refused_transaction_keeps_none_of_its_records(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.append([a_request(), a_call(model=None)])
    assert count(ledger, "requests") == 0


def test_an_artifact_keeps_its_nested_values(ledger: Ledger) -> None:
    artifact = Artifact(
        id="a" * 64, kind="router", task="t", at=a_request().at, content=b"\x00\x01",
        parents=("p",), settings={"epsilon": 0.02}, summary={"n": [1, 2]},
    )  # fmt: skip
    ledger.append([artifact])
    row = ledger.rows(select(schema.artifacts))[0]
    assert (row.content, row.parents, row.settings, row.summary) == (
        b"\x00\x01", ["p"], {"epsilon": 0.02}, {"n": [1, 2]},
    )  # fmt: skip


def test_a_missing_body_is_named(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="'nowhere' is not in the ledger"):
        ledger.body("nowhere")


def test_a_corrupt_body_is_refused(ledger: Ledger) -> None:
    body = Body.of(b"some text that is kept")
    ledger.append([body])
    with ledger.writing() as connection:
        connection.execute(update(schema.bodies).values(content=b"garbage"))
    with pytest.raises(LedgerError, match="corrupt"):
        ledger.body(body.digest)


def test_many_bodies_are_read_at_once_without_the_missing_and_the_corrupt(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepdown.ledger.store.BODIES_AT_ONCE", 2)
    bodies = [Body.of(f"body {n}".encode()) for n in range(5)]
    ledger.append(bodies)
    table = schema.bodies
    with ledger.writing() as connection:
        corrupt = update(table).where(table.c.digest == bodies[0].digest)
        connection.execute(corrupt.values(content=b"no frame"))
    names = [body.digest for body in bodies] * 2 + ["0" * 64]
    assert ledger.bodies(names) == {body.digest: body.content for body in bodies[1:]}
    assert ledger.bodies([]) == {}


@given(st.lists(st.binary(max_size=2000), min_size=1))
def test_compression_gives_back_the_bytes(contents: list[bytes]) -> None:
    assert [decompress("d", frame) for frame in compress_all(contents)] == contents


def test_heartbeats_move_forward(ledger: Ledger) -> None:
    assert ledger.last_beat("worker") is None
    ledger.beat("worker")
    first = ledger.last_beat("worker")
    ledger.beat("worker")
    second = ledger.last_beat("worker")
    assert first is not None
    assert second is not None
    assert first <= second
    assert count(ledger, "heartbeats") == 1


def test_the_migrations_make_the_schema(ledger: Ledger) -> None:
    inspector = inspect(ledger.engine)
    for table in schema.metadata.sorted_tables:
        columns = {c["name"]: c for c in inspector.get_columns(table.name)}
        assert set(columns) == {c.name for c in table.columns}, table.name
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, column
        keys = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [c.name for c in table.primary_key.columns]
        assert {i["name"] for i in inspector.get_indexes(table.name)} == {i.name for i in table.indexes}
