"""Labelling by keys: what is pressed is in the ledger, under the name that one has."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from sqlalchemy import Row, select

from stepdown.ledger import schema
from tests.browser.conftest import Open, Site

SETTLE_MS = 100  # htmx swaps, and then the script hears of it


def kept(site: Site) -> list[Row[tuple[str, ...]]]:
    """People's labels, the oldest first."""
    table = schema.labels
    query = select(table).where(table.c.labeller.startswith("person:")).order_by(table.c.at, table.c.subject)
    return list(site.ledger.rows(query))


def press(page: Page, key: str) -> None:
    """Press a key, and wait until the desk was swapped."""
    with page.expect_response("**/labels*"):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(SETTLE_MS)


def pair(page: Page) -> bool:
    """Whether two answers are compared."""
    return page.get_by_role("button", name="A is better").count() > 0


def item(page: Page) -> str:
    return page.locator("#desk input[name=id]").input_value()


def test_keys_label_skip_and_undo(own: Site, browse: Open) -> None:
    page = browse(own, "/labels")
    first = item(page)
    is_pair = pair(page)
    press(page, "1" if is_pair else "g")
    one = kept(own)
    assert {label.verdict for label in one} == ({"good", "bad"} if is_pair else {"good"})
    second = item(page)
    assert second != first
    press(page, "s")
    third = item(page)
    assert third not in (first, second)
    press(page, "b")
    bad = kept(own)[len(one) :]
    assert {label.verdict for label in bad if label.verdict != "unscored"} == {"bad"}

    press(page, "u")
    assert item(page) == third
    press(page, "t" if pair(page) else "g")
    last = {label.subject: label.verdict for label in kept(own)}  # the newest word of each
    assert {last[label.subject] for label in bad if label.verdict == "bad"} == {"good"}


def test_it_is_blind(own: Site, browse: Open) -> None:
    page = browse(own, "/labels")
    for _ in range(3):
        shown = page.locator("#desk").inner_html()
        assert "recorded-strong" not in shown
        assert "recorded-small" not in shown
        press(page, "s")


def test_keys_are_letters_in_a_comment(own: Site, browse: Open) -> None:
    page = browse(own, "/labels")
    before = kept(own)
    page.get_by_text("Add a comment").click()
    page.get_by_label("Kept with your verdict").press_sequentially("best of 12 <b>bugs</b>")
    assert kept(own) == before
    page.get_by_role("button").filter(has_text="kip").first.click()
    expect(page.locator("#desk .said")).to_be_visible()


def test_a_verdict_is_given_without_scripts(own: Site, browse: Open) -> None:
    page = browse(own, "/labels", scripts=False)
    before, was = len(kept(own)), item(page)
    page.get_by_role("group", name="Your verdict").get_by_role("button").first.click()
    assert item(page) != was
    assert len(kept(own)) > before


def test_the_keys_are_listed(site: Site, browse: Open) -> None:
    page = browse(site, "/labels")
    page.keyboard.press("?")
    assert page.get_by_text("the first answer (A) or the second (B) is better").is_visible()
