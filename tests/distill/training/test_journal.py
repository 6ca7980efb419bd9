"""Curves and costs as they are read from a run's journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from distill.training.journal import POINTS, Tail, account, curve, progress, stretches
from stepdown.ledger import Ledger, schema

ON_BOTH_DATABASES = True
BEGAN = "2026-11-22T02:30:00+00:00"


def write(file: Path, *lines: dict[str, Any]) -> None:
    with file.open("a") as opened:
        opened.writelines(json.dumps(line) + "\n" for line in lines)


def begin(at: float) -> dict[str, Any]:
    return {"kind": "begin", "at": BEGAN, "monotonic": at}


def step(number: int, at: float, kind: str = "train", **more: Any) -> dict[str, Any]:
    values = {"loss": 1 / number, "learning_rate": 0.1}
    return {"kind": kind, "step": number, "steps": 9, "monotonic": at, "values": values, **more}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two stretches; the first was killed in the middle of a line."""
    file = tmp_path / "progress.jsonl"
    write(file, begin(100.0), {"kind": "ready", "monotonic": 110.0}, step(1, 111.0, tokens=50))
    write(file, step(2, 112.5, tokens=100))
    with file.open("a") as opened:
        opened.write('{"kind": "train", "st\n')
    write(file, begin(5.0), {"kind": "ready", "monotonic": 7.0}, step(2, 8.0, tokens=50))
    write(file, step(2, 8.5, "validation"), {"kind": "end", "monotonic": 9.0})
    return file


def test_a_stretch_lasts_to_its_last_sign_of_life(journal: Path) -> None:
    first, second = stretches(journal)
    assert (first.seconds, first.tokens, first.training_s) == (12.5, 100.0, 2.5)
    assert (second.seconds, second.tokens, second.training_s) == (4.0, 50.0, 1.0)


def test_every_stretch_is_on_the_bill_once(ledger: Ledger, journal: Path) -> None:
    for _ in range(2):
        account(ledger, "sums", "r" * 64, journal, usd_per_hour=3.6)
    table = schema.expenses
    rows = ledger.rows(select(table).order_by(table.c.id))
    assert [(row.id, row.seconds, row.cost_usd_micros) for row in rows] == [
        (f"training/{'r' * 64}/1", 12.5, 12_500),
        (f"training/{'r' * 64}/2", 4.0, 4_000),
    ]
    assert {(row.task, row.kind, row.subject) for row in rows} == {("sums", "training", "r" * 64)}


def test_points_of_curves_are_kept_once(ledger: Ledger, journal: Path) -> None:
    for _ in range(2):
        ledger.append(progress("r", Tail(journal).lines()))
    table = schema.progress
    rows = ledger.rows(select(table).order_by(table.c.step, table.c.kind))
    assert [(row.step, row.kind) for row in rows] == [(1, "train"), (2, "train"), (2, "validation")]
    assert rows[0]._mapping["values"] == {"loss": 1.0, "learning_rate": 0.1, "tokens": 50, "steps": 9}


def test_a_tail_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    tail = Tail(file)
    assert list(tail.lines()) == []
    file.write_text('{"kind": "rea')
    assert list(tail.lines()) == []
    with file.open("a") as opened:
        opened.write('dy"}\n{"kind": "end"}\n')
    assert [line["kind"] for line in tail.lines()] == ["ready", "end"]
    assert list(tail.lines()) == []


def test_a_long_curve_is_thinned_out_but_for_validations(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    write(file, *(step(n, float(n)) for n in range(1, 1001)))
    write(file, *(step(n, float(n), "validation") for n in range(100, 1001, 100)))
    points = curve(file)
    assert len([p for p in points if p["kind"] == "train"]) <= POINTS
    assert [p["step"] for p in points if p["kind"] == "validation"] == list(range(100, 1001, 100))
