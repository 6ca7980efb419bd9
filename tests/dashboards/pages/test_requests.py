"""The list of requests: what it shows, where its links lead, and how it is followed."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from dashboards.pages import requests as page_of_requests
from stepdown.records import Verdict
from stepdown.settings import TaskSettings
from tests.dashboards.asking import asked
from tests.dashboards.conftest import Dashboard, Open

SEEN = re.compile(r'data-seen="(\w+)"')


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not cut a page short."""
    monkeypatch.setattr(page_of_requests, "BUDGET_S", 60.0)
    monkeypatch.setattr(page_of_requests, "LIVE_BUDGET_S", 60.0)


def keep(dashboard: Dashboard, *groups: list[Any]) -> None:
    """Put requests into the ledger."""
    dashboard.ledger.append([record for group in groups for record in group])


def ids(html: str) -> list[int]:
    """The numbers of the requests that a page lists."""
    return [int(number) for number in re.findall(r'id="r-request-(\d+)"', html)]


def link(html: str, words: str) -> str:
    """Where the link with these words leads."""
    found = re.search(rf'href="([^"]+)">{re.escape(words)}<', html)
    assert found is not None, words
    return unescape(found[1])


def test_an_empty_ledger_says_what_to_do(dashboard: Dashboard) -> None:
    html = dashboard.html("/requests")
    assert "No requests here" in html
    assert "base_url" in html
    assert "No request fits" in dashboard.html("/requests", text="x")


def test_an_error_of_the_database_does_not_show_what_it_was_asked(dashboard: Dashboard) -> None:
    with dashboard.ledger.writing() as connection:
        connection.exec_driver_sql("DROP TABLE decisions")
    answer = dashboard.get("/requests", model="a secret")
    assert answer.status_code == 503
    assert "the ledger refused a read" in answer.text
    assert "SELECT" not in answer.text
    assert "a secret" not in answer.text


def test_pages_lead_to_older_and_back_to_newer_ones(dashboard: Dashboard) -> None:
    keep(dashboard, *(asked(n) for n in range(120)))
    first = dashboard.html("/requests")
    assert ids(first) == list(range(119, 69, -1))
    second = dashboard.html(link(first, "Older →"))
    assert ids(second) == list(range(69, 19, -1))
    third = dashboard.html(link(second, "Older →"))
    assert ids(third) == list(range(19, -1, -1))
    assert "Older →" not in third
    again = dashboard.html(link(third, "← Newer"))
    assert ids(again) == ids(second)
    assert ids(dashboard.html(link(again, "Older →"))) == ids(third)
    assert ids(dashboard.html(link(again, "Newest"))) == ids(first)


def test_filters_stay_in_the_form_and_in_the_links(dashboard: Dashboard) -> None:
    keep(dashboard, *(asked(n, slice="a&b" if n % 2 else "c") for n in range(130)))
    html = dashboard.html("/requests", slice="a&b", verdict="unlabelled")
    assert ids(html)[:2] == [129, 127]
    assert 'name="slice" type="text" value="a&amp;b"' in html
    assert re.search(r'<option value="unlabelled" selected>', html)
    assert ids(dashboard.html(link(html, "Older →")))[0] == 29


def test_a_search_whose_time_is_up_says_how_far_it_looked_and_goes_on(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(dashboard, *(asked(n, prompt="needle" if n in (2, 9) else "hay") for n in range(12)))
    monkeypatch.setattr(page_of_requests, "BUDGET_S", 0)
    path, found, rounds = "/requests?text=needle", list[int](), 0
    while path:
        html = dashboard.html(path)
        found += ids(html)
        rounds += 1
        path = link(html, "Go on looking") if "Go on looking" in html else ""
        assert ("Looked back to" in html) == bool(path)
        assert ("No request fits" in html) == (not path)
    assert found == [9, 2]
    assert rounds == 13  # one for each request, and one that finds the end


def test_a_line_says_what_was_asked_who_answered_and_what_it_cost(dashboard: Dashboard) -> None:
    prompt = 'line one\n<script>alert("x")</script> مرحبا'
    keep(dashboard, asked(1, prompt=prompt, verdict=Verdict.BAD, cost=1234, slice="<b>tag</b>"))
    html = dashboard.html("/requests")
    assert "line one &lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; مرحبا" in html
    assert "<script>alert" not in html
    assert "&lt;b&gt;tag&lt;/b&gt;" in html
    assert "$0.001234" in html
    assert '<span class="chip bad">bad</span>' in html
    assert '<span class="chip strong">strong</span>' in html


def test_an_unknown_cost_is_not_zero(dashboard: Dashboard) -> None:
    keep(dashboard, asked(1, cost=None))
    html = dashboard.html("/requests")
    assert "unknown" in html
    assert "$0.000000" not in html


def test_who_follows_gets_nothing_until_something_is_new(dashboard: Dashboard) -> None:
    keep(dashboard, asked(1))
    html = dashboard.html("/requests", live="1")
    assert 'hx-get="/requests/rows"' in html
    assert "<noscript>" in html
    seen = SEEN.search(html)
    assert seen is not None
    assert dashboard.get("/requests/rows", seen=seen[1]).status_code == 204
    keep(dashboard, asked(2))
    answer = dashboard.get("/requests/rows", seen=seen[1])
    assert ids(answer.text) == [2, 1]
    assert "<html" not in answer.text
    late = asked(0)  # a slow request is older than what is shown already, and is news all the same
    new = SEEN.search(answer.text)
    assert new is not None
    keep(dashboard, late)
    assert ids(dashboard.html("/requests/rows", seen=new[1])) == [2, 1, 0]


def test_who_follows_some_sees_only_those(dashboard: Dashboard) -> None:
    keep(dashboard, asked(1, slice="a"), asked(2, slice="b"))
    html = dashboard.html("/requests", live="1", slice="a")
    assert '<input type="hidden" name="slice" value="a">' in html
    assert ids(dashboard.html("/requests/rows", slice="a")) == [1]


def test_a_filter_that_cannot_be_read_is_a_page_that_says_so(dashboard: Dashboard) -> None:
    answer = dashboard.get("/requests", tier="<medium>")
    assert answer.status_code == 400
    assert "there are strong, small" in answer.text
    assert "&lt;medium&gt;" in answer.text
    assert dashboard.get("/requests", older="x").status_code == 400


def test_tasks_are_kept_apart(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"default": TaskSettings(), "other": TaskSettings()})
    keep(dashboard, asked(1), asked(2, task="other"))
    assert ids(dashboard.html("/requests")) == [1]
    assert ids(dashboard.html("/requests", task="other")) == [2]
