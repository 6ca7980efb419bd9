"""Documents agree with the report, add up, and are read as they were kept."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from evals.outcomes import read_outcomes
from evals.report import build_report
from evals.summary import keep as keeping
from evals.summary import scene as scenes
from evals.summary.documents import Billed, Days, Measured, Outlook, SlicesDocument, Totals
from evals.summary.keep import keep_summaries, report_and_summaries
from evals.summary.kept import newest, to_json
from stepdown.errors import NotEnoughEvidence
from stepdown.ledger import Ledger, schema
from stepdown.records import Expense, Reason, Tier
from stepdown.summaries import Summaries
from tests.evals.ledgers import START, Writer
from tests.evals.report.scene import play, settings
from tests.records import a_call, a_decision, a_request

NOW = START + timedelta(hours=6)
SPENT = (
    "requests",
    "answered_small",
    "live",
    "candidates",
    "shadow",
    "exploration",
    "escalation",
    "judge",
    "evaluations",
    "trials",
    "rent",
    "distillation",
    "actual",
    "excluded",
    "unpriced",
)


def days_of(ledger: Ledger) -> Days:
    kept = newest(ledger, "default", Days)
    assert kept is not None
    return kept.document


def totals_of(ledger: Ledger) -> Totals:
    kept = newest(ledger, "default", Totals)
    assert kept is not None
    return kept.document


def billed(bill: Billed | None) -> Billed:
    assert bill is not None
    return bill


def spread(ledger: Ledger, days: int, *, each: int = 1) -> None:
    """Some requests of strong on each of some days."""
    for day in range(days):
        for number in range(each):
            at = START + timedelta(days=day, minutes=number)
            request = a_request(at=at, prompt_hash=f"{day:016d}{number:016d}")
            made = a_call(request=request.id, at=at, cost_usd_micros=100)
            ledger.append([request, a_decision(request=request.id, at=at), made])


def test_the_window_of_all_is_the_report(ledger: Ledger) -> None:
    play(ledger)
    rented = settings(usd_per_hour=0.01)
    at = ledger.rows(schema.requests.select())[5].at
    ledger.append(
        [Expense(id="e", at=at, task="default", kind="training", subject="s", seconds=9.0, cost_usd_micros=7)]
    )
    keep_summaries(ledger, rented, "default", at=NOW)
    report, totals = build_report(ledger, rented, "default"), totals_of(ledger)
    assert report.bill is not None
    assert report.audit is not None
    assert report.coverage is not None
    whole = totals.windows["all"]
    assert whole.bill == Billed.of(report.bill)
    assert whole.requests == 100
    assert whole.coverage == Measured.of(report.coverage)
    assert whole.audit is not None
    assert (whole.audit.audited, whole.audit.regrets) == (report.audit.audited, report.audit.regrets)
    assert totals.audit_of_router == whole.audit
    assert totals.promise == report.promise
    assert totals.in_force
    assert totals.labelled_pairs == report.labelled_pairs
    assert totals.windows["24h"].bill == whole.bill
    assert totals.windows["24h"].start == NOW - timedelta(hours=24)


def test_the_periods_add_up_to_the_whole(ledger: Ledger) -> None:
    play(ledger)
    keep_summaries(ledger, settings(usd_per_hour=0.01), "default", at=NOW)
    whole, days = billed(totals_of(ledger).windows["all"].bill), days_of(ledger)
    assert days.bucket == "hour"
    assert len(days.periods) == 5
    assert sum(period.requests for period in days.periods) == 100
    for name in SPENT:
        assert sum(getattr(billed(period.bill), name) for period in days.periods) == getattr(whole, name), (
            name
        )
    assert whole.rent > 0
    assert all(billed(period.bill).net.low <= billed(period.bill).net.high for period in days.periods)


def test_the_last_period_knows_all_that_the_router_was_audited_on(ledger: Ledger) -> None:
    play(ledger)
    keep_summaries(ledger, settings(), "default", at=NOW)
    days, totals = days_of(ledger), totals_of(ledger)
    assert days.router_since is not None
    assert days.periods[0].audit_so_far is None
    assert days.periods[-1].audit_so_far == totals.audit_of_router
    assert totals.audit_of_router is not None
    assert totals.audit_of_router.audited == 20


def test_older_ledgers_are_shown_by_days_without_gaps(ledger: Ledger) -> None:
    spread(ledger, 2)
    spread_at = START + timedelta(days=6)
    request = a_request(at=spread_at)
    ledger.append(
        [request, a_decision(request=request.id, at=spread_at), a_call(request=request.id, cost_usd_micros=1)]
    )
    keep_summaries(ledger, settings(), "default", at=spread_at)
    days = days_of(ledger)
    assert days.bucket == "day"
    assert [period.requests for period in days.periods] == [1, 1, 0, 0, 0, 0, 1]
    assert {period.start.hour for period in days.periods} == {0}
    idle = billed(days.periods[3].bill)
    assert (idle.actual, idle.net.value, idle.counterfactual.value) == (0, 0, 0)


def test_idle_days_pay_the_rent(ledger: Ledger) -> None:
    spread(ledger, 5)
    with ledger.writing() as connection:
        connection.execute(schema.requests.delete().where(schema.requests.c.at == START + timedelta(days=2)))
    keep_summaries(ledger, settings(usd_per_hour=2.0), "default", at=START + timedelta(days=5))
    rents = [billed(period.bill).rent for period in days_of(ledger).periods]
    assert rents == [24_000_000, 48_000_000, 48_000_000, 48_000_000, 24_000_000]
    idle = billed(days_of(ledger).periods[2].bill)
    assert idle.net.value == idle.net.low == -48_000_000
    assert billed(totals_of(ledger).windows["all"].bill).rent == sum(rents)


def test_only_the_newest_requests_are_looked_at_and_that_is_said(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(ledger, 10, each=2)
    monkeypatch.setattr(scenes, "MOST_REQUESTS", 6)
    at = START + timedelta(days=10)
    keep_summaries(ledger, settings(), "default", at=at)
    days, totals = days_of(ledger), totals_of(ledger)
    assert days.since == totals.since == START + timedelta(days=7)
    assert sum(period.requests for period in days.periods) == 6
    assert totals.windows["all"].requests == totals.windows["30d"].requests == 6
    assert totals.windows["all"].start == START + timedelta(days=7)
    monkeypatch.setattr(scenes, "MOST_REQUESTS", 20)
    keep_summaries(ledger, settings(), "default", at=at)
    assert days_of(ledger).since is None
    later = START + timedelta(days=95)
    keep_summaries(ledger, settings(), "default", at=later)
    assert days_of(ledger).since == later - timedelta(days=90)
    assert sum(period.requests for period in days_of(ledger).periods) == 10


def test_outcomes_that_were_read_already_give_the_same_documents(ledger: Ledger) -> None:
    play(ledger)
    keep_summaries(ledger, settings(), "default", at=NOW)
    before = [Summaries(ledger).newest("default", name) for name in ("days", "totals", "outlook")]
    keep_summaries(ledger, settings(), "default", at=NOW, outcomes=read_outcomes(ledger, "default"))
    after = [Summaries(ledger).newest("default", name) for name in ("days", "totals", "outlook")]
    assert [kept and kept.content for kept in before] == [kept and kept.content for kept in after]


def test_a_model_without_a_price_leaves_a_reason_instead_of_a_bill(ledger: Ledger) -> None:
    Writer(ledger).pair("one", True, True, costs=(None, 10))
    keep_summaries(ledger, settings(), "default", at=NOW)
    (period,) = days_of(ledger).periods
    assert period.bill is None
    assert "'large-1' has no known price" in period.why_no_bill
    assert totals_of(ledger).windows["all"].why_no_bill == period.why_no_bill


def test_requests_that_named_their_model_are_counted_and_on_no_bill(ledger: Ledger) -> None:
    Writer(ledger).routed("named", Tier.STRONG, True, reason=Reason.NAMED)
    keep_summaries(ledger, settings(), "default", at=NOW)
    (period,) = days_of(ledger).periods
    assert period.requests == 1
    assert billed(period.bill).requests == 0


def test_an_empty_ledger_has_documents_without_figures(ledger: Ledger) -> None:
    assert keep_summaries(ledger, settings(), "default", at=NOW) == ("totals", "days", "outlook")
    assert days_of(ledger).periods == ()
    assert totals_of(ledger).windows["all"].requests == 0


def test_one_document_that_cannot_be_made_keeps_no_other_from_being_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Days:
        raise NotEnoughEvidence("nothing to go by")

    monkeypatch.setattr(keeping, "MAKERS", {**keeping.MAKERS, "days": broken})
    assert keep_summaries(ledger, settings(), "default", at=NOW) == ("totals", "outlook")


def test_the_task_that_reports_keeps_the_documents_too(ledger: Ledger) -> None:
    play(ledger)
    report_and_summaries(ledger, settings(), "default")
    assert totals_of(ledger).windows["all"].requests == 100
    assert len(ledger.rows(schema.artifacts.select().where(schema.artifacts.c.kind == "report"))) == 1


@pytest.mark.parametrize("kind", [Days, Totals, Outlook])
def test_documents_are_read_as_they_were_kept(ledger: Ledger, kind: type[Days]) -> None:
    play(ledger)
    keep_summaries(ledger, settings(), "default", at=NOW)
    kept = newest(ledger, "default", kind)
    assert kept is not None
    assert msgspec.json.decode(to_json(kept.document), type=kind) == kept.document
    assert b"NaN" not in to_json(kept.document)


def test_a_document_of_another_version_is_none(ledger: Ledger) -> None:
    assert newest(ledger, "default", Days) is None
    Summaries(ledger).keep("default", "days", b'{"at": 1}')
    assert newest(ledger, "default", Days) is None
    assert newest(ledger, "default", SlicesDocument) is None


def test_the_bound_that_a_person_set_is_the_one_that_is_shown(ledger: Ledger) -> None:
    play(ledger)
    with ledger.writing() as connection:
        connection.execute(schema.promotions.update().values(max_quality_loss=0.125))
    keep_summaries(ledger, settings(), "default", at=NOW)
    assert totals_of(ledger).bound == 0.125
