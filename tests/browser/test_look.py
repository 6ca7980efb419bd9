"""Light and dark: by the system, or by choice, which is kept."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser.conftest import Open, Site


def ground(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


def test_the_look_is_the_systems_until_one_chooses(site: Site, browse: Open) -> None:
    light, dark = browse(site, "/promotions"), browse(site, "/promotions", dark=True)
    assert ground(light) != ground(dark)
    other = ground(dark)
    dark.get_by_role("button", name="Light").click()
    assert ground(dark) == ground(light)
    dark.goto("/students")
    assert ground(dark) == ground(light)
    dark.get_by_role("button", name="Dark").click()
    assert ground(dark) == other


def test_choosing_a_look_leads_back_to_the_very_page(site: Site, browse: Open) -> None:
    page = browse(site, "/requests?tier=small&text=total", scripts=False)
    page.get_by_role("button", name="Dark").click()
    assert page.url == f"{site.url}/requests?tier=small&text=total"
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_charts_change_with_the_look(site: Site, browse: Open) -> None:
    colours = []
    for dark in (False, True):
        page = browse(site, "/", dark=dark)
        colours.append(page.evaluate(FILLS))
    assert colours[0]
    assert colours[0] != colours[1]


FILLS = """() => [...new Set([...document.querySelectorAll('.picture svg path')].map(
  (path) => getComputedStyle(path).fill + getComputedStyle(path).stroke))].sort()"""
