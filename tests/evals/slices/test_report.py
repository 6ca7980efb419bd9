"""The table of slices: what each costs, how good both models are on it, and whether it may step down."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from sqlalchemy import select

from evals.report.encode import to_json
from evals.slices import report as report_module
from evals.slices.build import slice_task
from evals.slices.kinds import REST, UNTAGGED, By
from evals.slices.report import SliceReport, SliceRow, example_texts, slice_report
from evals.slices.text import render_slices, said
from evals.slices.verdict import May
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode, Tier, Verdict
from stepdown.registry import Registry
from stepdown.settings import Settings, load_settings
from tests.evals.ledgers import Writer
from tests.evals.slices.prompts import texts_of

SETTINGS = {
    "models": {
        "strong": {"model": "large-1", "input_usd_per_million": 2.0, "output_usd_per_million": 8.0},
        "small": {"model": "tiny-1", "input_usd_per_million": 0.1, "output_usd_per_million": 0.5},
    },
    "tasks": {"default": {"small": "small", "max_quality_loss": 0.1, "confidence": 0.9}},
}


def settings(**task: object) -> Settings:
    tasks = {"default": {**SETTINGS["tasks"]["default"], **task}}
    return load_settings(Path("/dev/null"), environ={}, overrides={**SETTINGS, "tasks": tasks})


def row_of(report: SliceReport, name: str) -> SliceRow:
    return next(row for row in report.rows if row.name == name)


@pytest.fixture
def tagged(ledger: Ledger) -> Ledger:
    """Three tags: one where small is as good, one where it is not, one without labels."""
    writer = Writer(ledger)
    with writer.together():
        for i in range(80):
            writer.pair(f"easy {i}", True, True, costs=(100, 10), kind="easy")
        for i in range(40):
            writer.pair(f"hard {i}", True, i % 2 == 0, costs=(300, 10), kind="hard")
        for i in range(20):
            writer.call(writer.request(f"new {i}", kind="new"), Tier.STRONG, cost=200, tokens=(20, 20))
    return ledger


def test_each_slice_has_its_verdict(tagged: Ledger) -> None:
    report = slice_report(tagged, settings(), "default", by=By.TAG)
    assert [row.name for row in report.rows] == ["hard", "easy", "new"]
    easy, hard, new = (row_of(report, name) for name in ("easy", "hard", "new"))
    assert (easy.verdict.may, hard.verdict.may, new.verdict.may) == (May.YES, May.NO, May.NEED)
    assert new.verdict.more == 33  # 0.9 ^ 33 < 0.1 / 3 slices
    assert (easy.small.value, hard.small.value, hard.strong.value) == (1.0, 0.5, 1.0)
    assert (hard.regret.value, hard.regret.n) == (0.5, 40)
    assert (new.strong.n, new.regret.n) == (0, 0)


def test_slices_are_judged_by_the_bound_that_a_person_set(tagged: Ledger) -> None:
    strict = Deployed(Mode.SHADOW, max_quality_loss=0.001)
    assert Registry(tagged).promote("default", strict, actor="ana", reason="", evidence={}, after=0)
    report = slice_report(tagged, settings(), "default", by=By.TAG)
    assert report.epsilon == 0.001
    assert row_of(report, "easy").verdict.may is May.NEED


def test_shares_and_costs_add_up(tagged: Ledger) -> None:
    report = slice_report(tagged, settings(), "default", by=By.TAG)
    assert sum(row.share.value for row in report.rows) == pytest.approx(1)
    assert sum(row.cost_share or 0 for row in report.rows) == pytest.approx(1)
    hard = row_of(report, "hard")
    assert hard.cost_share == pytest.approx(12_000 / 24_000)
    assert hard.share.low < 40 / 140 < hard.share.high
    assert hard.saving is not None
    assert hard.saving.value == pytest.approx(1000 * 40 / 140 * 290)
    assert (hard.saving.n, hard.costs.method) == (40, "paired")


def test_a_slice_that_small_never_answered_is_priced(tagged: Ledger) -> None:
    new = row_of(slice_report(tagged, settings(), "default", by=By.TAG), "new")
    assert (new.costs.method, new.costs.small.value) == ("priced", 20 * 0.1 + 20 * 0.5)


def test_a_task_without_small_model_has_shares_and_costs_and_no_saving(tagged: Ledger) -> None:
    report = slice_report(tagged, settings(small=None), "default", by=By.TAG)
    assert all(row.saving is None for row in report.rows)
    assert row_of(report, "new").costs.method == "unknown"


def test_judged_labels_count_only_where_the_owner_says_so(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for i in range(60):
            writer.pair(f"easy {i}", None, None, kind="easy")
    for row in ledger.rows(select(schema.calls.c.id)):
        writer.label(row.id, Verdict.GOOD, labeller="judge:helpful")
    trusted = slice_report(ledger, settings(), "default", by=By.TAG)
    assert (trusted.rows[0].regret.n, trusted.rows[0].verdict.may) == (0, May.NEED)
    judged = slice_report(ledger, settings(certify_on="judged"), "default", by=By.TAG)
    assert judged.rows[0].regret.n == 60
    assert "judged" in render_slices(judged)


def test_a_prompt_asked_often_is_one_label(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for _ in range(200):
            writer.pair("the same", True, True, kind="often")
    row = slice_report(ledger, settings(), "default", by=By.TAG).rows[0]
    assert (row.requests, row.prompts, row.regret.n) == (200, 1, 1)
    assert row.verdict.may is May.NEED
    assert row.small.low < 0.5


def test_rare_tags_are_put_together(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MAX_SLICES", 2)
    writer = Writer(ledger)
    with writer.together():
        for i, kind in enumerate(["a"] * 5 + ["b"] * 4 + ["c", "d", None, None, None]):
            writer.pair(f"prompt {i}", True, True, kind=kind)
    report = slice_report(ledger, settings(), "default", by=By.TAG)
    assert {row.name: row.requests for row in report.rows} == {"a": 5, "b": 4, REST: 5}
    assert row_of(report, REST).regret.n == 5


def test_requests_without_a_tag_have_their_own_line(ledger: Ledger) -> None:
    Writer(ledger).pair("prompt", True, True)
    assert [row.name for row in slice_report(ledger, settings(), "default", by=By.TAG).rows] == [UNTAGGED]


@pytest.fixture
def clustered(ledger: Ledger) -> Ledger:
    writer = Writer(ledger)
    with writer.together():
        for text in texts_of("sql", 60):
            writer.pair(text, True, True, costs=(100, 10))
        for text in texts_of("sentiment", 60):
            writer.pair(text, True, False, costs=(50, 10))
        writer.pair("zzz qqq", True, True, costs=(50, 10))
    return ledger


def test_clusters_are_judged_with_their_id_and_example(clustered: Ledger) -> None:
    made = slice_task(clustered, "default")
    report = slice_report(clustered, settings(), "default", slicing=made)
    assert made.artifact is not None
    assert report.artifact == made.artifact.id
    sentiment = [row for row in report.rows if row.medoid and row.small.value == 0]
    sql = [row for row in report.rows if row.medoid and row.small.value == 1]
    assert sum(row.requests for row in sentiment) == sum(row.requests for row in sql) >= 59
    examples = example_texts(clustered, report)
    assert all(examples[row.id] in texts_of("sentiment", 60) for row in sentiment)
    text = render_slices(report, examples)
    assert all(said(row.verdict) in text for row in report.rows)
    assert "EXAMPLES" in text


def test_without_kept_clusters_a_report_makes_its_own_and_keeps_none(clustered: Ledger) -> None:
    report = slice_report(clustered, settings(), "default")
    assert report.artifact is None
    assert sum(row.requests for row in report.rows) == 121


def test_a_large_task_is_looked_at_in_part_but_all_labels_count(
    clustered: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "LOOKED_AT", 40)
    report = slice_report(clustered, settings(), "default")
    assert (report.requests, report.looked_at) == (121, 40)
    assert sum(row.requests for row in report.rows) == 40
    assert sum(row.regret.n for row in report.rows) == 121


def test_no_traffic_is_said(ledger: Ledger) -> None:
    for by in By:
        report = slice_report(ledger, settings(), "default", by=by)
        assert report.rows == ()
        assert "no request to slice yet" in render_slices(report)


def test_an_unknown_task_is_refused(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match=r"'defualt' is not declared .*default"):
        slice_report(ledger, settings(), "defualt")


def test_the_report_as_json_has_no_nan(tagged: Ledger) -> None:
    values = json.loads(to_json(slice_report(tagged, settings(), "default", by=By.TAG)))
    new = next(row for row in values["rows"] if row["name"] == "new")
    assert new["verdict"]["may"] == "need"
    assert new["strong"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    assert not any(isinstance(v, float) and math.isnan(v) for v in new["verdict"].values())


def test_the_text_is_at_most_100_columns_wide(clustered: Ledger) -> None:
    slicing = slice_task(clustered, "default")
    text = render_slices(slice_report(clustered, settings(), "default", slicing=slicing), {})
    assert max(map(len, text.splitlines())) <= 100
    assert "no longer kept" in text
