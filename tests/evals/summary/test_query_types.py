"""The query-type map is that of the kept slices, and is made anew when it is due."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from evals.slices.build import slice_task
from evals.slices.report import slice_report
from evals.summary.documents import Measured, SlicesDocument
from evals.summary.keep import keep_summaries
from evals.summary.kept import newest
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from tests.evals.ledgers import START, Writer
from tests.evals.report.scene import COSTS, TOKENS, settings
from tests.evals.slices.prompts import mixed

NOW = START + timedelta(hours=6)


@pytest.fixture
def asked(ledger: Ledger) -> Writer:
    """Two kinds of query, of which small knows one."""
    writer = Writer(ledger)
    with writer.together():
        for kind, text in mixed({"sql": 25, "sentiment": 25}):
            writer.pair(text, True, kind == "sql", costs=COSTS, tokens=TOKENS)
    return writer


def slices_of(ledger: Ledger) -> SlicesDocument | None:
    kept = newest(ledger, "default", SlicesDocument)
    return kept.document if kept else None


def kept_at(ledger: Ledger, at: datetime) -> bool:
    return "slices" in keep_summaries(ledger, settings(), "default", at=at)


def test_the_map_is_the_report_of_the_kept_slices(ledger: Ledger, asked: Writer) -> None:
    slice_task(ledger, "default")
    keep_summaries(ledger, settings(), "default", at=NOW)
    found, report = slices_of(ledger), slice_report(ledger, settings(), "default")
    assert found is not None
    assert found.artifact == report.artifact
    assert [row.name for row in found.rows] == [row.name for row in report.rows]
    for row, truth in zip(found.rows, report.rows, strict=True):
        assert (row.requests, row.prompts, row.may, row.why) == (
            truth.requests,
            truth.prompts,
            truth.verdict.may,
            truth.verdict.why,
        )
        assert row.small == Measured.of(truth.small)
        assert row.cost_strong.value == pytest.approx(COSTS[0])
        assert 0 < len(row.examples) <= row.prompts
    assert len({name for row in found.rows for name in row.examples}) > len(found.rows)
    assert sum(row.requests for row in found.rows) == 50


def test_without_kept_slices_there_is_no_map(ledger: Ledger, asked: Writer) -> None:
    assert not kept_at(ledger, NOW)
    assert slices_of(ledger) is None


def test_the_map_is_made_anew_after_an_hour_or_of_newer_slices(ledger: Ledger, asked: Writer) -> None:
    slice_task(ledger, "default")
    assert kept_at(ledger, NOW)
    assert not kept_at(ledger, NOW + timedelta(minutes=50))
    assert kept_at(ledger, NOW + timedelta(minutes=61))
    with asked.together():
        for _, text in mixed({"order_json": 25}):
            asked.pair(text, True, True)
    slice_task(ledger, "default")
    assert kept_at(ledger, NOW + timedelta(minutes=62))


def test_the_map_is_made_anew_for_another_bound(ledger: Ledger, asked: Writer) -> None:
    slice_task(ledger, "default")
    assert kept_at(ledger, NOW)
    to = Deployed(mode=Mode.SHADOW, max_quality_loss=0.2)
    assert Registry(ledger).promote("default", to, actor="person", reason="why", evidence={}, after=0)
    assert kept_at(ledger, NOW + timedelta(minutes=1))
    found = slices_of(ledger)
    assert found is not None
    assert found.bound == 0.2
    assert not kept_at(ledger, NOW + timedelta(minutes=2))
