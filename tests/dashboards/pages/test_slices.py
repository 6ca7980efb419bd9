"""The query-type map sorts, filters and drills down, and shows prompts as text while they are kept."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import delete

from dashboards.queries import slices as queries
from evals.slices.build import slice_of, slice_task
from evals.slices.report import slice_report
from evals.summary.documents import Measured, SliceLine, SlicesDocument
from evals.summary.kept import keep
from stepdown.ledger import Ledger, schema
from tests.dashboards.asking import START, asked
from tests.dashboards.conftest import Dashboard
from tests.evals.ledgers import Writer
from tests.evals.slices.prompts import mixed

ON_BOTH_DATABASES = True
EVIL = "<script>alert(1)</script>"
NOTHING = Measured(None, None, None, 0)


def measured(value: float, n: int = 90) -> Measured:
    return Measured(value, value - 0.02, value + 0.02, n)


def line(number: int, name: str, **changes: Any) -> SliceLine:
    fields: dict[str, Any] = {
        "id": f"s{number}",
        "name": name,
        "terms": (name, "words"),
        "requests": 100,
        "prompts": 90,
        "share": measured(0.1 * number),
        "cost_share": 0.4 - 0.1 * number,
        "cost_strong": Measured(500.0, 450.0, 550.0, 90),
        "cost_small": Measured(50.0, None, None, 1),
        "cost_method": "paired",
        "strong": measured(0.9),
        "small": measured(0.1 * number),
        "regret": measured(0.3),
        "saving": Measured(40_000.0, 30_000.0, 50_000.0, 90),
        "may": "no",
        "why": "27 of 90 prompts regretted",
        "more": None,
    }
    return SliceLine(**{**fields, **changes})


LINES = (
    line(1, "alpha · sums"),
    line(2, "beta · dates", may="yes", why="0 of 300 prompts regretted"),
    line(3, "gamma · riddles", may="need", more=227, small=NOTHING, cost_share=None),
)


def write(ledger: Ledger, *lines: SliceLine, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "at": START,
        "since": None,
        "artifact": "a" * 64,
        "requests": 300,
        "looked_at": 300,
        "bound": 0.02,
        "confidence": 0.95,
        "certify_on": "trusted",
        "rows": lines or LINES,
    }
    keep(ledger, "default", SlicesDocument(**{**fields, **changes}))


def table(html: str) -> str:
    return html[html.index("<tbody>", html.index('class="slices"')) :]


def order(html: str) -> list[str]:
    """The slices of the table, from the top down."""
    return re.findall(r'<a href="/slices/(\w+)\?', table(html))


def test_slices_are_shown_by_their_cost_with_what_is_known(dashboard: Dashboard) -> None:
    write(dashboard.ledger)
    html = dashboard.html("/slices")
    assert order(html) == ["s1", "s2", "s3"]
    assert 'aria-sort="descending"' in html
    first = table(html)[: table(html).index("</tr>")]
    assert "alpha · sums" in first
    assert "90.0%" in first
    assert "88.0 to 92.0 · n=90" in first
    assert "$0.5000" in first
    assert "no interval · n=1" in first
    assert "27 of 90 prompts regretted" in first


def test_a_verdict_is_a_word_and_a_colour(dashboard: Dashboard) -> None:
    write(dashboard.ledger)
    html = table(dashboard.html("/slices"))
    assert '<span class="chip good">yes</span>' in html
    assert '<span class="chip bad">no</span>' in html
    assert '<span class="chip">needs 227 more labels</span>' in html


@pytest.mark.parametrize(
    ("sort", "up", "down"),
    [
        ("name", "s1 s2 s3", "s3 s2 s1"),
        ("share", "s1 s2 s3", "s3 s2 s1"),
        ("small", "s1 s2 s3", "s2 s1 s3"),  # what is not known comes last either way
        ("cost", "s2 s1 s3", "s1 s2 s3"),
        ("may", "s2 s3 s1", "s1 s3 s2"),
    ],
)
def test_every_column_sorts_either_way(dashboard: Dashboard, sort: str, up: str, down: str) -> None:
    write(dashboard.ledger)
    assert order(dashboard.html("/slices", sort=sort, order="up")) == up.split()
    assert order(dashboard.html("/slices", sort=sort, order="down")) == down.split()


def test_the_head_of_a_column_turns_its_order(dashboard: Dashboard) -> None:
    write(dashboard.ledger)
    html = dashboard.html("/slices", sort="name", order="up", q="a")
    assert html.count("aria-sort=") == 1
    assert 'aria-sort="ascending"' in html
    assert 'href="/slices?task=default&amp;q=a&amp;sort=name&amp;order=down"' in html
    assert 'href="/slices?task=default&amp;q=a&amp;sort=small&amp;order=down"' in html


def test_slices_are_filtered_by_verdict_and_by_words(dashboard: Dashboard) -> None:
    write(dashboard.ledger)
    assert order(dashboard.html("/slices", verdict="may")) == ["s2"]
    assert order(dashboard.html("/slices", verdict="open")) == ["s3"]
    assert order(dashboard.html("/slices", verdict="not")) == ["s1"]
    assert order(dashboard.html("/slices", q="RIDDLES")) == ["s3"]
    assert "No slice is like that" in dashboard.html("/slices", q="nothing", verdict="may")
    assert EVIL not in dashboard.html("/slices", q=EVIL)


@pytest.mark.parametrize("query", [{"sort": EVIL}, {"verdict": "perhaps"}, {"order": "sideways"}])
def test_an_order_that_is_none_is_refused(dashboard: Dashboard, query: dict[str, str]) -> None:
    write(dashboard.ledger)
    answer = dashboard.get("/slices", **query)
    assert answer.status_code == 400
    assert EVIL not in answer.text


def test_before_there_are_slices_the_page_says_what_makes_them(dashboard: Dashboard) -> None:
    assert "No slices yet" in dashboard.html("/slices")
    write(dashboard.ledger, rows=())
    assert "No slices yet" in dashboard.html("/slices")
    assert dashboard.get("/slices/s1").status_code == 404


def test_an_example_is_shown_as_text_while_it_is_kept(dashboard: Dashboard) -> None:
    dashboard.ledger.append(asked(1, f"{EVIL} what is it?", slice="riddles"))
    write(dashboard.ledger, line(1, f"alpha {EVIL}", examples=("request-000001", "gone")))
    for path in ("/slices", "/slices/s1"):
        html = dashboard.html(path)
        assert EVIL not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; what is it?" in html
        assert "riddles" in html
    with dashboard.ledger.writing() as connection:
        connection.execute(delete(schema.bodies))
    assert "what is it?" not in dashboard.html("/slices")
    assert "Its text was deleted" in dashboard.html("/slices/s1")


def test_a_long_example_is_cut_and_a_longer_one_is_not_read(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.pages.slices.LONGEST_TEXT", 100)
    monkeypatch.setattr(queries, "LONGEST_BODY", 5_000)
    records = asked(1, "a" * 101) + asked(2, "b" * 6_000)
    dashboard.ledger.append(records)
    write(dashboard.ledger, line(1, "alpha", examples=("request-000001", "request-000002")))
    html = dashboard.html("/slices/s1")
    assert "a" * 100 in html
    assert "a" * 101 not in html
    assert "The first 100 of 101 characters" in html
    assert "/requests/request-000001?task=default" in html
    assert "bbbb" not in html
    assert "too long to show here" in html


def test_a_body_that_is_no_chat_request_is_no_example(dashboard: Dashboard) -> None:
    dashboard.ledger.append(asked(1, body=b"\xff not JSON"))
    write(dashboard.ledger, line(1, "alpha", examples=("request-000001",)))
    assert "a long prompt" in dashboard.html("/slices")
    assert dashboard.get("/slices/s1").status_code == 200


def test_no_more_text_is_read_than_the_bound(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_BYTES", 1_000)
    for number in range(3):
        ledger.append(asked(number, f"{number}" * 500))
    found = queries.requests_of(ledger, [f"request-{number:06}" for number in range(3)])
    assert [found[f"request-{number:06}"].prompt is not None for number in range(3)] == [True, False, False]


def really_sliced(dashboard: Dashboard) -> SliceLine:
    """Two kinds of query, sliced and kept; the slice of one of them."""
    ledger = dashboard.ledger
    writer = Writer(ledger)
    with writer.together():
        for kind, text in mixed({"sql": 30, "sentiment": 30}):
            writer.pair(text, True, kind == "sql")
    slice_task(ledger, "default")
    lines = [
        line(int(row.id[1:]), row.name, requests=row.requests)
        for row in slice_report(ledger, dashboard.settings, "default").rows
    ]
    write(ledger, *lines)
    return lines[0]


def test_one_slice_lists_its_newest_requests_and_no_others(dashboard: Dashboard) -> None:
    found = really_sliced(dashboard)
    newest = queries.newest_of(dashboard.ledger, "default", found.id)
    assert newest is not None
    assert (newest.looked_at, len(newest.requests)) == (60, min(queries.MOST_LISTED, found.requests))
    names = slice_of(dashboard.ledger, "default")
    assert {names[one.id] for one in newest.requests} == {found.name}
    assert len(set(names.values())) > 1
    assert [one.at for one in newest.requests] == sorted((one.at for one in newest.requests), reverse=True)
    html = dashboard.html(f"/slices/{found.id}")
    for one in newest.requests:
        assert f"/requests/{one.id}?task=default" in html


def test_a_slice_that_is_kept_no_longer_says_so(dashboard: Dashboard) -> None:
    write(dashboard.ledger)
    assert "This slice is no longer kept" in dashboard.html("/slices/s1")
    answer = dashboard.get("/slices/s99")
    assert (answer.status_code, "has no slice" in answer.text) == (404, True)


def test_a_slice_of_which_too_little_is_known_has_a_bar_too(dashboard: Dashboard) -> None:
    write(dashboard.ledger, line(1, "alpha", may="no_unless"), line(2, "beta", may="need"))
    picture = dashboard.html("/slices").split("Where the money goes")[1]
    assert picture.count('fill="var(--quiet)"') == 2
