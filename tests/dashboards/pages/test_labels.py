"""The labelling queue on the dashboard: what is shown of an item, and what becomes of a verdict."""

from __future__ import annotations

import html
import re

from sqlalchemy import insert

from evals.report.keep import REPORT
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Tier
from stepdown.registry import Registry
from stepdown.settings import DashboardSettings, TaskSettings
from tests.answered import MODELS, answered, calls_by_tier, labels_in
from tests.dashboards.conftest import Dashboard, Open, hash_of

ON_BOTH_DATABASES = True
PART = {"hx-request": "true"}
_id = re.compile(r'name="id" value="([^"]+)"')


def queue_up(ledger: Ledger, *requests: str) -> None:
    """Put requests into the queue, in this order."""
    rows = []
    for place, request in enumerate(requests):
        calls = calls_by_tier(ledger, request)
        whole = {"strong_call": calls.get(Tier.STRONG), "small_call": calls.get(Tier.SMALL)}
        known = {"request": request, "task": "default", "at": now(), "why": "threshold"}
        rows.append({**known, "priority": float(place), **whole})
    with ledger.writing() as connection:
        connection.execute(insert(schema.label_queue), rows)


def shown_id(page: str) -> str:
    found = _id.search(page)
    assert found is not None, page
    return html.unescape(found[1])


def said(ledger: Ledger, request: str) -> dict[str, tuple[str, str, float | None]]:
    """The newest label of each of a request's calls, by tier."""
    calls = {call: tier for tier, call in calls_by_tier(ledger, request).items()}
    return {calls[row.subject]: (row.labeller, row.verdict, row.score) for row in labels_in(ledger)}


def letter_of(page: str, text: str) -> str:
    """The letter under which an answer is shown."""
    sides = page.split('class="side"')[1:]
    (letter,) = ["ab"[place] for place, side in enumerate(sides) if text in side.split("</section>")[0]]
    return letter


def test_a_pair_is_shown_blind_and_its_verdict_becomes_labels(dashboard: Dashboard) -> None:
    request = answered(dashboard.ledger, "What is 6*7?", "exactly 42", "about 40", reference='"a secret"')
    queue_up(dashboard.ledger, request)
    page = dashboard.html("/labels")
    assert "What is 6*7?" in page
    calls = calls_by_tier(dashboard.ledger, request)
    for hidden in (*MODELS.values(), *calls.values(), "a secret", "threshold<", 'value="strong"'):
        assert hidden not in page
    better = letter_of(page, "exactly 42")
    answer = dashboard.post("/labels", id=shown_id(page), verdict=better, seconds="7.25", comment=" exact ")
    assert answer.status_code == 303
    name = re.search(r'name="name" value="([^"]*)"', page)
    assert name is not None
    assert said(dashboard.ledger, request) == {
        "strong": (f"person:{name[1]}", "good", 1.0),
        "small": (f"person:{name[1]}", "bad", 0.0),
    }
    assert {row.evidence.partition(": ")[2] for row in labels_in(dashboard.ledger)} == {"exact (in 7.2 s)"}
    after = dashboard.html("/labels")
    assert "Nothing waits for you" in after
    assert '<span class="figure">1</span> since midnight' in after


def test_the_reference_is_shown_on_asking_alone(dashboard: Dashboard) -> None:
    queue_up(dashboard.ledger, answered(dashboard.ledger, reference='"it is <b>42</b>"'))
    assert "it is &lt;b" not in dashboard.html("/labels")
    assert "it is &lt;b&gt;42&lt;/b&gt;" in dashboard.html("/labels", reference="1")


def test_htmx_gets_the_next_item_and_nothing_around_it(dashboard: Dashboard) -> None:
    first = answered(dashboard.ledger, "the first prompt", "one")
    second = answered(dashboard.ledger, "the second prompt", "two")
    queue_up(dashboard.ledger, first, second)
    item = shown_id(dashboard.html("/labels"))
    part = dashboard.post("/labels", PART, id=item, verdict="good")
    assert part.status_code == 200
    assert part.text.lstrip().startswith('<section id="desk"')
    assert "the second prompt" in part.text
    assert 'data-said="Kept: good."' in part.text


def test_undo_shows_the_last_item_again_and_a_new_verdict_replaces_the_old(dashboard: Dashboard) -> None:
    request = answered(dashboard.ledger, "the first prompt", "one")
    queue_up(dashboard.ledger, request)
    item = shown_id(dashboard.html("/labels"))
    to = dashboard.post("/labels", id=item, verdict="good").headers["location"]
    assert html.escape(f"item={item}") in dashboard.html(to)
    again = dashboard.html("/labels", item=item)
    assert "a new verdict replaces yours" in again
    assert shown_id(again) == item
    dashboard.post("/labels", id=item, verdict="bad")
    assert said(dashboard.ledger, request)["strong"][1] == "bad"


def test_an_item_that_changed_keeps_nothing_and_the_next_is_shown(dashboard: Dashboard) -> None:
    queue_up(dashboard.ledger, answered(dashboard.ledger, "the first prompt", "one"))
    item = shown_id(dashboard.html("/labels"))
    stale = dashboard.post("/labels", PART, id=f"{item[:-4]}beef", verdict="good")
    assert stale.status_code == 200
    assert "nothing was kept" in stale.text
    assert not labels_in(dashboard.ledger)


def test_no_verdict_is_kept_without_a_token_or_of_no_kind(dashboard: Dashboard) -> None:
    queue_up(dashboard.ledger, answered(dashboard.ledger, "the first prompt", "one"))
    item = shown_id(dashboard.html("/labels"))
    assert dashboard.post("/labels", token="", id=item, verdict="good").status_code == 403
    assert dashboard.post("/labels", id=item, verdict="best").status_code == 400
    assert dashboard.post("/labels", id=item, verdict="a").status_code == 400  # it is no pair
    assert not labels_in(dashboard.ledger)


def test_who_need_not_sign_in_chooses_a_name(dashboard: Dashboard) -> None:
    request = answered(dashboard.ledger, "the first prompt", "one")
    queue_up(dashboard.ledger, request)
    assert dashboard.post("/labels/name", name=" no, name! ").status_code == 400
    assert dashboard.post("/labels/name", name=" Some One ").status_code == 303
    page = dashboard.html("/labels")
    assert 'value="Some One"' in page
    dashboard.post("/labels", id=shown_id(page), verdict="good")
    assert said(dashboard.ledger, request)["strong"][0] == "person:Some One"


def test_an_annotator_labels_under_the_name_of_their_key(open_dashboard: Open) -> None:
    dashboard = open_dashboard(
        dashboard=DashboardSettings(people={"Person": hash_of("open sesame")}),
        annotators={"Annotator": hash_of("only labels")},
        tasks={"default": TaskSettings(small="small", annotators=2)},
    )
    request = answered(dashboard.ledger, "the first prompt", "one")
    queue_up(dashboard.ledger, request)
    dashboard.sign_in("only labels")
    page = dashboard.html("/labels")
    assert 'aria-label="Pages"' not in page
    token = dashboard.token("/labels")
    assert dashboard.post("/labels/name", token=token, name="Person").status_code == 400
    dashboard.post("/labels", token=token, id=shown_id(page), verdict="good")
    assert said(dashboard.ledger, request)["strong"][0] == "person:Annotator"


def test_a_long_text_is_cut_and_there_in_full_as_plain_text(dashboard: Dashboard) -> None:
    long = "<script>alert(1)</script>" + "x" * 300_000
    queue_up(dashboard.ledger, answered(dashboard.ledger, "the first prompt", long))
    page = dashboard.html("/labels")
    assert len(page) < 200_000
    assert "<script>alert" not in page
    assert "All of answer A as text" in page
    whole = dashboard.get("/labels/text", item=shown_id(page), part="a")
    assert whole.text == long
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert dashboard.get("/labels/text", item=shown_id(page), part="b").status_code == 404


LINE = b"""{"labels": {"errors": {"contradicted": 3,
"people": {"value": 0.61, "low": 0.4, "high": 0.8, "n": 40}, "pairs": [],
"lines": [{"labeller": "judge:helpful", "against": "trusted", "labels": 120, "unscored": 4,
"agreement": {"confusion": {"good_as_good": 60, "good_as_bad": 5, "bad_as_good": 5, "bad_as_bad": 30},
"share": {"value": 0.9, "low": 0.82, "high": 0.95, "n": 100}, "kappa": {"value": null, "low": -1, "high": 1,
"n": 0}, "sensitivity": {"value": 0.92, "low": 0.83, "high": 0.97, "n": 65}, "specificity": {"value": 0.86,
"low": 0.7, "high": 0.95, "n": 35}}}]}}}"""


def test_how_good_labellers_are_is_read_from_the_newest_report(dashboard: Dashboard) -> None:
    assert "Not measured yet" in dashboard.html("/labels")
    Registry(dashboard.ledger).keep(REPORT, "default", LINE, settings={}, summary={})
    page = re.sub(r"<[^>]+>", "", dashboard.html("/labels"))
    assert "10.0% 5.0 to 18.0" in page
    assert "judge helpful" in page
    assert "0.61" in page
