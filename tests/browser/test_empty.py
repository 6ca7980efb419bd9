"""A ledger with nothing in it: every page says what is missing; and nobody sees one before signing in."""

from __future__ import annotations

import pytest
from msgspec import structs
from playwright.sync_api import expect

from dashboards.render import PAGES
from tests.browser.conftest import Open, Site, serving
from tests.browser.test_pages import violations
from tests.dashboards.conftest import hash_of

CALM = {"/playground"}  # which needs no traffic


@pytest.mark.parametrize("task", ["default", "sums"])
def test_each_page_says_what_is_missing(empty: Site, browse: Open, task: str) -> None:
    for path, name in PAGES:
        page = browse(empty, f"{path}?task={task}", phone=True)
        assert page.locator("h1").inner_text() == name
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        if path not in CALM:
            said = page.locator(".empty").all_inner_texts()
            assert said, path
            assert all(len(text) > 10 for text in said), path


def test_nothing_is_seen_before_signing_in(empty: Site, browse: Open) -> None:
    people = structs.replace(empty.settings.dashboard, people={"Person": hash_of("open sesame")})
    guarded = structs.replace(
        empty.settings, dashboard=people, annotators={"Annotator": hash_of("only labels")}
    )
    with serving(guarded) as site:
        page = browse(site, "/promotions?task=sums", wrong="status of 401")
        assert page.locator("h1").inner_text() == "Sign in"
        assert violations(page) == []
        page.get_by_label("Your key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("opens nothing")
        page.get_by_label("Your key").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{site.url}/promotions?task=sums")
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("h1")).to_have_text("Sign in")
        page.goto("/promotions")
        assert page.locator("h1").inner_text() == "Sign in"

        annotator = browse(site, "/", wrong="status of 403")
        annotator.get_by_label("Your key").fill("only labels")
        annotator.keyboard.press("Enter")
        expect(annotator.locator("h1")).to_have_text("Labels")
        assert annotator.get_by_role("navigation", name="Pages").count() == 0
        annotator.goto("/promotions")
        assert annotator.locator("h1").inner_text().startswith("Forbidden")
        annotator.get_by_role("link", name="To the labels").click()
        expect(annotator.locator("h1")).to_have_text("Labels")
