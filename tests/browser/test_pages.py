"""Every page in a real browser: it opens without a complaint, for every eye, hand and screen."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page

from tests.browser.conftest import Open, Site, settled
from tests.browser.pages import PAGES

GRAVE = {"serious", "critical"}
every_page = pytest.mark.parametrize("name", PAGES)


def violations(page: Page) -> list[str]:
    """What axe finds that is serious or critical, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in GRAVE
    ]


@every_page
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_opens_and_axe_finds_nothing_serious(site: Site, browse: Open, name: str, dark: bool) -> None:
    page = browse(site, PAGES[name](site.ledger), dark=dark)
    assert page.locator("h1").count() == 1
    assert page.title().endswith("· Stepdown")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == []


@every_page
def test_it_fits_a_phone(site: Site, browse: Open, name: str) -> None:
    page = browse(site, PAGES[name](site.ledger), phone=True)
    settled(page) if "live" not in name else None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@every_page
def test_it_can_be_read_without_scripts(site: Site, browse: Open, name: str) -> None:
    address = PAGES[name](site.ledger)
    with_scripts = browse(site, address).locator("main").locator("h1, h2, h3, table, figure")
    without = browse(site, address, scripts=False).locator("main")
    assert without.locator("h1, h2, h3, table, figure").count() == with_scripts.count()
    assert len(without.inner_text()) > 60
    assert without.locator("h1").is_visible()


@every_page
def test_the_keyboard_reaches_all_that_can_be_used(site: Site, browse: Open, name: str) -> None:
    """By Tab alone, in the order of the page, each stop to be seen."""
    page = browse(site, PAGES[name](site.ledger))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    wanted = page.evaluate(USABLE)
    reached = []
    for _ in range(len(wanted) + 30):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None:
            break
        assert stop["seen"], stop
        reached.append(stop["number"])
    assert sorted(reached) == reached
    assert set(wanted) <= set(reached), [
        page.evaluate(NAMED, number) for number in set(wanted) - set(reached)
    ]


# What can be used in the main part, numbered; of a group of radio buttons the arrows reach the others.
USABLE = """() => {
  const main = document.getElementById('main');
  const found = [...main.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex="0"]')];
  return found.flatMap((one, number) => {
    one.dataset.number = number;
    const usable = one.checkVisibility() && !one.disabled && one.type !== 'hidden' && one.type !== 'radio';
    return usable && one.getClientRects().length ? [number] : [];
  });
}"""
STOP = """() => {
  const one = document.activeElement;
  if (!one || !one.closest('#main') || one.id === 'main') return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  const inside = box.bottom > 0 && box.top < innerHeight;
  return { number: Number(one.dataset.number), seen: outlined && inside, html: one.outerHTML.slice(0, 200) };
}"""
NAMED = "(number) => document.querySelector(`[data-number='${number}']`).outerHTML.slice(0, 200)"


def test_the_menu_leads_to_every_page_and_says_where_one_is(site: Site, browse: Open) -> None:
    page = browse(site, "/")
    menu = page.get_by_role("navigation", name="Pages")
    names = menu.get_by_role("link").all_inner_texts()
    assert len(names) == 9
    for name in names:
        menu.get_by_role("link", name=name, exact=True).click()
        assert menu.locator("[aria-current=page]").inner_text() == name


def test_numbers_of_a_chart_are_there_as_a_table(site: Site, browse: Open) -> None:
    page = browse(site, "/")
    chart = page.locator("figure.chart").first
    assert chart.get_by_role("img").get_attribute("aria-label")
    chart.get_by_text("The numbers").click()
    assert chart.get_by_role("table").is_visible()


def test_another_task_is_chosen_on_any_page(site: Site, browse: Open) -> None:
    page = browse(site, "/promotions/1")
    page.get_by_label("Task").select_option("sums")
    page.get_by_role("button", name="Show", exact=True).click()
    assert "task sums" in page.locator("main").inner_text()
