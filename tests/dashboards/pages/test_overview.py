"""Tests of the overview."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

from msgspec.structs import replace

from evals.report.tree import Money
from evals.rollups.fill import roll_up
from evals.summary.documents import Measured, Outlook, Saving
from evals.summary.keep import keep_summaries
from evals.summary.kept import keep, newest
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode, Night, NightEvent, Promotion, Tier
from stepdown.registry import Registry
from stepdown.settings import StudentSettings, TaskSettings
from tests.dashboards.conftest import Dashboard, Open
from tests.evals.ledgers import START, Writer

ON_BOTH_DATABASES = True

_tag = re.compile(r"<[^>]+>")


def text_of(html: str) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(_tag.sub(" ", html)).split())


def promote(ledger: Ledger, to: Deployed, **evidence: object) -> None:
    """Put something in force."""
    after = len(Registry(ledger).history("default"))
    assert Registry(ledger).promote("default", to, actor="auto", reason="why", evidence=evidence, after=after)


def fill(dashboard: Dashboard) -> None:
    """A task that was shadowed, and routes now; its hours counted and its documents kept."""
    writer = Writer(dashboard.ledger)
    with writer.together():
        for number in range(40):
            writer.pair(f"question {number}", True, number % 2 == 0, costs=(1000, 100))
        for number in range(30):
            writer.routed(f"easy {number}", Tier.SMALL, cost=100)
        for number in range(10):
            writer.explored(f"explored {number}", True, True, -0.1, costs=(1000, 100))
    routed = Promotion(
        task="default", sequence=1, at=START, mode=Mode.ROUTE, artifact="a" * 64, actor="auto", reason="why"
    )
    dashboard.ledger.append([routed])
    work(dashboard)


def work(dashboard: Dashboard) -> None:
    """Do what the workers do for this page."""
    roll_up(dashboard.ledger)
    kept = keep_summaries(dashboard.ledger, dashboard.settings, "default", at=START + timedelta(hours=5))
    assert {"days", "totals", "outlook"} <= set(kept)


def test_an_empty_ledger_says_what_is_missing_and_when_it_comes(dashboard: Dashboard) -> None:
    said = text_of(dashboard.html("/"))
    assert "Estimates come with the first report of the workers" in said
    assert "No request came in this period." in said
    assert "is in mode strong" in said
    assert "0 requests in the last minute" in said
    assert "newest never" in said


def test_counts_are_shown_before_there_is_any_report(dashboard: Dashboard) -> None:
    Writer(dashboard.ledger).routed("question", Tier.SMALL, cost=2_500_000)
    roll_up(dashboard.ledger)
    said = text_of(dashboard.html("/", range="all"))
    assert "Spent $2.50 1 requests, all time; calls alone" in said
    assert "Answered by small 100.0% 1 of 1 requests of mode route, all time" in said
    assert "Net saving no data comes with the first report of the workers" in said


def test_saving_quality_and_coverage_have_interval_n_and_period(dashboard: Dashboard) -> None:
    fill(dashboard)
    said = text_of(dashboard.html("/", range="all"))
    # 30 answers of small saved 900 each by estimate; 40 shadow calls and 10 explored ones cost 100 each.
    assert re.search(r"Net saving \$0\.02\d+ \$0\.\d+ to \$0\.\d+ · n=\d+ all time", said)
    assert re.search(r"Saved of always-strong's cost \d+\.\d% \d+\.\d to \d+\.\d · n=", said)
    assert re.search(r"Quality against always strong \+0\.0% -\d+\.\d to \+\d+\.\d · n=10", said)
    assert "0 regrets of 10 audited" in said
    assert re.search(r"Answered by small 75\.0% \d+\.\d to \d+\.\d · n=40", said)
    assert "30 of 40 requests of mode route" in said
    assert "95% intervals" in said


def test_each_chart_has_its_numbers_as_a_table(dashboard: Dashboard) -> None:
    fill(dashboard)
    html = dashboard.html("/", range="all")
    for name in ("spend", "saved", "quality", "coverage", "requests", "latency"):
        card = html.split(f'id="{name}"', 1)[1].split("</section>", 1)[0]
        assert "<svg" in card, name
        assert "<summary>The numbers</summary>" in card, name
        assert "<td>" in card, name
    assert "the bound: loses at most 2%" in html
    assert "small-1" not in html
    assert "large-1: p50" in html


def test_the_bill_adds_up_on_the_page(dashboard: Dashboard) -> None:
    fill(dashboard)
    html = dashboard.html("/", range="all")
    bill = text_of(html.split('id="bill"', 1)[1].split("</section>", 1)[0])
    assert "Shadow calls, to learn −$0.004000" in bill
    assert "Exploration −$0.001000" in bill
    assert bill.index("Always strong would have cost") < bill.index("Gross saving") < bill.index("Net saving")
    assert "Prompt trials" not in bill  # nothing was spent on them


def test_numbers_lead_to_what_explains_them(dashboard: Dashboard) -> None:
    fill(dashboard)
    html = dashboard.html("/", range="all").replace("&amp;", "&")
    assert 'href="/requests?task=default&reason=gain_below_threshold&since=2026-11-01' in html
    for page in ("/frontier", "/promotions", "/nights", "/slices", "/requests"):
        assert f'href="{page}?task=default' in html


def test_a_period_is_chosen_by_a_link(dashboard: Dashboard) -> None:
    fill(dashboard)
    html = dashboard.html("/", range="7d")
    assert re.search(r'range=7d" aria-current="true">7 days', html)
    assert "the last 7 days" in html
    assert dashboard.get("/", range="fortnight").status_code == 400


def test_a_task_that_is_not_routed_says_what_it_is_missing(dashboard: Dashboard) -> None:
    writer = Writer(dashboard.ledger)
    with writer.together():
        for number in range(40):
            writer.pair(f"question {number}", True, number % 2 == 0, costs=(1000, 100))
    promote(dashboard.ledger, Deployed(mode=Mode.SHADOW))
    work(dashboard)
    html = dashboard.html("/", range="all")
    said = text_of(html)
    assert re.search(r"Needs about \d+ more labels; could save at most \$[\d.]+ ± [\d.]+ a month", said)
    assert "40 of 200 labels for a first router" in said
    assert '<progress class="bar" max="200" value="40" aria-labelledby="step-1">' in html
    assert "what learning cost, all time; it saves from mode route on" in said
    assert said.index("What is missing") < said.index("Net saving")


def test_the_headline_rounds_and_takes_the_longer_arm(dashboard: Dashboard) -> None:
    writer = Writer(dashboard.ledger)
    writer.pair("question", True, True)
    work(dashboard)
    kept = newest(dashboard.ledger, "default", Outlook)
    assert kept is not None
    saving = Saving(
        usd_micros=Money(410_400_000, 350_000_000, 460_000_000, 500),
        coverage=Measured(0.3, 0.2, 0.4, 500),
        at_most=False,
        method="as told",
    )
    told = replace(kept.document, saving=saving, labels_to_router=140, labels_to_certificate=340)
    keep(dashboard.ledger, "default", told)
    assert "Needs about 340 more labels; projected saving $410 ± 60 a month" in text_of(dashboard.html("/"))


def test_the_live_part_is_a_part(dashboard: Dashboard) -> None:
    Writer(dashboard.ledger).routed("question", Tier.SMALL)
    html = dashboard.html("/overview/live")
    assert html.startswith('<p id="live"')
    assert "<html" not in html
    assert 'hx-get="/overview/live?task=default"' in html


def test_alarms_are_listed_with_where_to_look(dashboard: Dashboard) -> None:
    promote(dashboard.ledger, Deployed(mode=Mode.ROUTE))
    promote(dashboard.ledger, Deployed(mode=Mode.SHADOW))
    html = dashboard.html("/")
    assert "went back from mode route to mode shadow by itself: why" in html
    assert 'href="/promotions/2?task=default"' in html


def test_a_student_on_trial_is_shown_with_what_it_is_watched_by(dashboard: Dashboard) -> None:
    watch = {"name": "lost quality", "rate": 0.02, "n": 50, "limit": 0.05, "alarm": False}
    to = Deployed(mode=Mode.ROUTE, candidate="c" * 64, candidate_share=0.25)
    promote(dashboard.ledger, to, watches=[watch, {"name": "incomplete"}])
    html = dashboard.html("/")
    said = text_of(html)
    assert "with 25% of the traffic" in said
    assert "lost quality 2.0% 50 5.0%" in said
    assert "incomplete" not in said


def test_tonight_says_when_it_begins_and_what_came_of_the_last(open_dashboard: Open) -> None:
    task = TaskSettings(small="small", student=StudentSettings(base="base"))
    dashboard = open_dashboard(tasks={"default": task})
    assert "The next night begins at" in text_of(dashboard.html("/"))
    assert "There was none yet." in dashboard.html("/")
    night = Night(id="default/2026-11-02", task="default", date="2026-11-02", at=now(), actor="auto")
    dashboard.ledger.append([night])
    for event in (
        NightEvent(night=night.id, stage="label", event="started", at=now()),
        NightEvent(night=night.id, stage="label", event="ended", at=now(), outcome="done"),
        NightEvent(
            night=night.id, stage="dataset", event="ended", at=now(), outcome="stopped", reason="too few"
        ),
    ):
        dashboard.ledger.append([event])
    said = text_of(dashboard.html("/"))
    assert "2026-11-02 , begun by auto: dataset stopped: too few" in said
    assert "label : done" in said


def test_a_task_without_students_says_how_to_have_them(dashboard: Dashboard) -> None:
    assert "This task distils no students" in dashboard.html("/")


def test_texts_of_others_are_text(dashboard: Dashboard) -> None:
    reason = "<script>alert(1)</script>"
    assert Registry(dashboard.ledger).promote(
        "default", Deployed(mode=Mode.SHADOW), actor="person", reason=reason, evidence={}, after=0
    )
    html = dashboard.html("/")
    assert reason not in html
    assert "&lt;script&gt;alert(1)" in html


def test_nothing_on_the_page_needs_a_script_or_a_style_of_its_own(dashboard: Dashboard) -> None:
    fill(dashboard)
    html = dashboard.html("/", range="all")
    assert " style=" not in html
    assert re.findall(r"<script(?![^>]*src=)", html) == []


def test_what_was_explored_under_an_earlier_router_is_not_said_to_be_unlabelled(dashboard: Dashboard) -> None:
    fill(dashboard)
    promote(dashboard.ledger, Deployed(mode=Mode.ROUTE, artifact="b" * 64))
    work(dashboard)
    said = text_of(dashboard.html("/", range="all"))
    assert "0 regrets of 10 audited" in said
    assert "from the promotion of the router in force on. None since has both answers labelled yet" in said
