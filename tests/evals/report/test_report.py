"""The report of a task: figures checked by hand, the text against a golden file, what is missing."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import update

from evals.report import build_report, render_text, to_json
from evals.report.chart import write_png
from evals.report.keep import keep_report
from evals.report.layout import WIDTH
from router.fitting.fit import CALIBRATION_SHARE
from router.fitting.splits import calibration_mask
from stepdown.errors import SettingsError, StepdownError
from stepdown.ledger import Ledger, schema
from stepdown.records import Expense, Reason, Tier, Verdict
from stepdown.registry import Registry
from stepdown.settings import Settings
from tests.evals.ledgers import Writer
from tests.evals.report.scene import play, promote, settings

GOLDEN = Path(__file__).parent / "golden.txt"


def test_text_is_the_golden_text(ledger: Ledger) -> None:
    """`UPDATE_GOLDEN=1 pytest` writes it anew; read the difference before you commit it."""
    play(ledger)
    text = render_text(build_report(ledger, settings(usd_per_hour=0.0001), "default"))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert max(map(len, text.splitlines())) <= WIDTH


def test_figures_are_what_paper_says(ledger: Ledger) -> None:
    play(ledger)
    report = build_report(ledger, settings(), "default")
    assert report.served is not None
    assert (report.served.requests, report.served.distinct_prompts) == (100, 100)
    assert report.audit is not None
    # 20 explored: 10 statements for small, which is right, and 10 questions for strong, of which
    # every tenth request, i = 19 and 39 of them, is wrong.
    assert (report.audit.explored, report.audit.audited, report.audit.regrets) == (20, 20, 0)
    assert report.audit.policy.value == report.audit.strong.value == pytest.approx(18 / 20)
    assert report.coverage is not None
    assert (report.coverage.value, report.coverage.n) == (10 / 40, 40)
    assert report.routed_bill is not None
    assert report.routed_bill.gross.value == 10 * (180 - 10)
    assert report.routed_bill.net.value == 10 * (180 - 10) - 20 * 10


def test_tasks_on_one_small_model_are_billed_its_rent_once_together(ledger: Ledger) -> None:
    play(ledger)
    alone = settings(usd_per_hour=0.01)
    both = structs.replace(alone, tasks={**alone.tasks, "other": alone.tasks["default"]})
    whole, half = (build_report(ledger, declared, "default").bill for declared in (alone, both))
    assert whole is not None
    assert half is not None
    assert whole.rent > 0
    assert half.rent == pytest.approx(whole.rent / 2, abs=1)


def test_the_hours_of_a_training_lessen_the_net_saving_of_the_whole_and_not_of_the_routed(
    ledger: Ledger,
) -> None:
    play(ledger)
    before = build_report(ledger, settings(), "default")
    at = ledger.rows(schema.requests.select().order_by(schema.requests.c.at))[-1].at
    paid = {"at": at, "task": "default", "kind": "training", "subject": "run", "seconds": 360.0}
    ledger.append(
        [
            Expense(id="known", cost_usd_micros=300, **paid),
            Expense(id="unknown", cost_usd_micros=None, **paid),
        ]
    )
    after = build_report(ledger, settings(), "default")
    assert before.bill is not None
    assert after.bill is not None
    assert after.bill.net.value == before.bill.net.value - 300
    assert after.routed_bill == before.routed_bill
    text = " ".join(render_text(after).split())
    assert "- distillation of students $0.000300" in text
    assert "0.10 hours of distillation have an unknown price, which is not zero" in text


def test_regrets_are_counted_where_small_would_have_answered_and_was_wrong(ledger: Ledger) -> None:
    writer = Writer(ledger)
    cases = [(True, False, -1.0), (True, False, 1.0), (False, False, -1.0), (False, True, -1.0)]
    for number, (strong, small, gain) in enumerate(cases):
        writer.explored(f"prompt {number}", strong, small, gain)
    writer.explored("unlabelled", True, None, -1.0)
    audit = build_report(ledger, settings(), "default").audit
    assert audit is not None
    assert (audit.explored, audit.audited, audit.regrets) == (5, 4, 1)
    assert (audit.policy.value, audit.strong.value, audit.difference.value) == (0.5, 0.5, 0.0)
    assert audit.regret.value == 0.25


def test_curves_show_no_pair_that_the_router_was_fitted_on(ledger: Ledger) -> None:
    play(ledger)
    report = build_report(ledger, settings(), "default")
    pairs = ledger.rows(schema.requests.select().order_by(schema.requests.c.at))[:60]
    held_out = calibration_mask([row.prompt_hash for row in pairs], CALIBRATION_SHARE, 0).sum()
    assert report.curves is not None
    assert (report.curves.calibration, report.curves.later) == (held_out, 20)
    assert report.curves.fit_pairs == 60 - held_out


def test_a_prompt_that_was_fitted_on_is_not_held_out_when_it_comes_again(ledger: Ledger) -> None:
    writer = play(ledger)
    before = build_report(ledger, settings(), "default").curves
    for number in range(60):
        writer.explored(f"Prompt  {number}{'?' * (number % 2)}", True, True, 0.0)
    after = build_report(ledger, settings(), "default").curves
    assert before is not None
    assert after is not None
    assert after.later - before.later == before.calibration
    assert after.fit_pairs == before.fit_pairs


def test_rankings_name_the_router_first_and_every_baseline(ledger: Ledger) -> None:
    play(ledger)
    curves = build_report(ledger, settings(), "default").curves
    assert curves is not None
    by_name = {ranking.name: ranking for ranking in curves.rankings}
    assert list(by_name) == ["router", "kNN", "prompt length", "random", "per-slice mean"]
    assert by_name["random"].apgr.value == pytest.approx(0.5)
    assert by_name["router"].apgr.value > 0.7
    assert curves.shuffle.value < curves.policy.value


def test_an_empty_ledger_gives_a_report_of_what_is_missing(ledger: Ledger) -> None:
    report = build_report(ledger, settings(min_labels=140), "default")
    text = render_text(report)
    assert report.bill is None
    assert "none in this period" in text
    assert "a router needs 140 more labelled prompts: 0 of 140" in text
    assert json.loads(to_json(report))["served"] is None


def test_too_few_labels_are_said_in_numbers(ledger: Ledger) -> None:
    play(ledger, shadowed=7, routed=0)
    with ledger.writing() as connection:
        connection.execute(schema.promotions.delete())
        connection.execute(schema.artifacts.delete())
    report = build_report(ledger, settings(), "default")
    assert report.curves is None
    assert "a router needs 13 more labelled prompts: 7 of 20 are labelled for both models" in report.missing


def test_a_task_whose_answers_nothing_can_label_is_told_so(ledger: Ledger) -> None:
    report = build_report(ledger, settings(), "default")
    assert any("declares no check: add [tasks.NAME.checks.CHECK]" in line for line in report.missing)


def test_too_few_held_out_pairs_are_said_in_numbers(ledger: Ledger) -> None:
    promote(ledger, after_minutes=0)
    Writer(ledger).explored("only one", True, True, 0.0)
    report = build_report(ledger, settings(), "default")
    assert any("needs 29 more held-out pairs" in line for line in report.missing)


def test_a_task_that_nobody_knows_is_refused(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match="'nope' is not declared and has no requests"):
        build_report(ledger, settings(), "nope")


def test_a_task_known_only_from_the_ledger_is_reported(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.call(writer.request("one"), Tier.STRONG, True)
    text = render_text(build_report(ledger, Settings(), "default"))
    assert "no small model is configured" in text


def test_an_unknown_price_is_said_to_be_unknown(ledger: Ledger) -> None:
    Writer(ledger).pair("one", True, True, costs=(None, 10))
    report = build_report(ledger, settings(), "default")
    text = render_text(report)
    assert report.bill is None
    assert "unknown, not zero" in text
    assert "model 'large-1' has no known price" in text


def test_corrupt_bodies_are_skipped_and_counted(ledger: Ledger) -> None:
    play(ledger)
    digest = ledger.rows(schema.requests.select())[0].body
    whole = build_report(ledger, settings(), "default")
    with ledger.writing() as connection:
        table = schema.bodies
        connection.execute(update(table).where(table.c.digest == digest).values(content=b"junk"))
    report = build_report(ledger, settings(), "default")
    assert report.curves is not None
    assert whole.curves is not None
    assert report.skipped_bodies == 1
    assert report.curves.pairs + report.curves.fit_pairs == whole.curves.pairs + whole.curves.fit_pairs - 1
    assert "could not be read from the ledger, and were left out: 1" in render_text(report)


def test_a_corrupt_router_does_not_stop_the_rest(ledger: Ledger) -> None:
    play(ledger)
    with ledger.writing() as connection:
        connection.execute(update(schema.artifacts).values(content=b"junk"))
    report = build_report(ledger, settings(), "default")
    assert report.bill is not None
    assert report.curves is None
    assert any("is corrupt" in line for line in report.missing)


def test_a_corrupt_promotion_does_not_stop_the_rest(ledger: Ledger) -> None:
    play(ledger)
    with ledger.writing() as connection:
        connection.execute(update(schema.promotions).values(mode="sideways"))
    report = build_report(ledger, settings(), "default")
    assert report.bill is not None
    assert any("promotion 1 of task 'default' is corrupt" in line for line in report.missing)


def test_unscored_and_unlabelled_answers_are_excluded_and_counted(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for good in (True, False, None, None):
        last = writer.call(writer.request("one"), Tier.STRONG, good)
    writer.label(last, Verdict.UNSCORED)
    (line,) = build_report(ledger, settings(), "default").received
    assert (line.answers, line.good.n, line.good.value) == (4, 2, 0.5)
    assert (line.unscored, line.unlabelled) == (1, 1)


def test_since_leaves_out_what_came_before(ledger: Ledger) -> None:
    play(ledger)
    first = build_report(ledger, settings(), "default").served
    assert first is not None
    later = build_report(ledger, settings(), "default", since=first.end - timedelta(minutes=1))
    assert later.served is not None
    assert later.served.requests == 1
    assert later.curves is not None


def test_json_is_stable_and_holds_no_value_that_json_has_not(ledger: Ledger) -> None:
    play(ledger)
    report = build_report(ledger, settings(), "default")
    encoded = to_json(report)
    assert encoded == to_json(build_report(ledger, settings(), "default"))
    parsed = json.loads(encoded)
    assert list(parsed) == sorted(parsed)
    assert parsed["coverage"] == {"value": 0.25, **{k: parsed["coverage"][k] for k in ("low", "high", "n")}}
    assert "NaN" not in encoded.decode()


def test_a_kept_report_is_an_artifact_and_keeping_it_again_adds_none(ledger: Ledger) -> None:
    play(ledger)
    kept = keep_report(ledger, settings(), "default")
    assert keep_report(ledger, settings(), "default").id == kept.id
    stored = Registry(ledger).artifact(kept.id)
    assert json.loads(stored.content)["task"] == "default"
    assert len(ledger.rows(schema.artifacts.select().where(schema.artifacts.c.kind == "report"))) == 1


@pytest.mark.parametrize("routed", [40, None])
def test_the_picture_is_a_png(ledger: Ledger, tmp_path: Path, routed: int | None) -> None:
    if routed is not None:
        play(ledger, routed=routed)
    path = tmp_path / "curve.png"
    write_png(build_report(ledger, settings(), "default"), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_where_strong_is_no_better_apgr_is_undefined_and_the_picture_is_drawn(
    ledger: Ledger, tmp_path: Path
) -> None:
    promote(ledger, after_minutes=0)
    writer = Writer(ledger)
    for number in range(40):
        writer.explored(f"prompt {number}", False, True, 0.0)
    report = build_report(ledger, settings(), "default")
    assert report.curves is not None
    assert "undefined" in render_text(report)
    assert json.loads(to_json(report))["curves"]["rankings"][0]["apgr"]["value"] is None
    write_png(report, tmp_path / "curve.png")


def test_a_picture_that_cannot_be_written_is_said_by_its_name(ledger: Ledger, tmp_path: Path) -> None:
    report, path = build_report(ledger, settings(), "default"), tmp_path / "nowhere" / "curve.png"
    with pytest.raises(StepdownError, match=r"nowhere/curve\.png' cannot be written: No such file"):
        write_png(report, path)


def test_named_requests_are_served_but_not_covered(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.routed("small", Tier.SMALL, True)
    writer.routed("named", Tier.STRONG, True, reason=Reason.NAMED)
    report = build_report(ledger, settings(), "default")
    assert report.coverage is not None
    assert (report.coverage.value, report.coverage.n) == (1.0, 1)
