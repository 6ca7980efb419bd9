"""The slider says what a bound buys before anything changes; applying it is a reviewed promotion."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from stepdown.registry import Registry
from tests.browser.conftest import Open, Site

TASK = "default"


def slide(page: Page, step: int) -> None:
    """Move the slider with the keyboard, and wait for what it buys."""
    slider = page.get_by_role("slider", name="Allowed quality loss")
    slider.focus()
    with page.expect_response("**/frontier/at*"):
        page.keyboard.press("Home" if step == 0 else "End" if step < 0 else "ArrowRight")


def test_the_slider_shows_what_each_bound_buys_and_changes_nothing(own: Site, browse: Open) -> None:
    page = browse(own, "/frontier")
    before = Registry(own.ledger).current(TASK)
    slider = page.get_by_role("slider", name="Allowed quality loss")
    seen = {}
    for step in (0, -1):
        slide(page, step)
        expect(page.locator("#said")).not_to_be_empty()
        page.wait_for_load_state("networkidle")
        seen[step] = page.locator("#bought").inner_text()
        assert slider.get_attribute("aria-valuetext") == page.locator("#loss").inner_text()
    assert seen[0] != seen[-1]
    assert "loss=" in page.url  # what is looked at has an address
    assert "%" in seen[-1]
    assert Registry(own.ledger).current(TASK) == before


def test_a_bound_is_applied_after_a_review(own: Site, browse: Open) -> None:
    page = browse(own, "/frontier")
    registry = Registry(own.ledger)
    before = registry.current(TASK)
    slide(page, -1)
    page.wait_for_load_state("networkidle")
    shown = page.locator("#loss").inner_text()
    page.get_by_role("link", name=f"Apply {shown}").click()
    assert registry.current(TASK) == before
    assert page.get_by_role("row", name="allowed quality loss").get_by_text(shown).first.is_visible()
    page.get_by_role("button", name=f"Allow {shown}").click()
    now = registry.current(TASK)
    assert now is not None
    assert now.max_quality_loss is not None
    assert f"{100 * now.max_quality_loss:g}%" == shown
    page.goto("/promotions")
    assert page.get_by_text(shown).first.is_visible()


def test_the_slider_works_without_scripts(site: Site, browse: Open) -> None:
    page = browse(site, "/frontier", scripts=False)
    slider = page.get_by_role("slider", name="Allowed quality loss")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="Show", exact=True).last.click()
    assert slider.get_attribute("value") == slider.get_attribute("max")
