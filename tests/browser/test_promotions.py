"""A promotion and its rollback, by hand in a browser: what is in force is what was shown."""

from __future__ import annotations

import pytest

from stepdown.records import Mode
from stepdown.registry import Registry
from tests.browser.conftest import Open, Site

TASK = "default"
CONFLICT = "status of 409"
REFUSED = "status of 403"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_promotion_and_its_rollback(own: Site, browse: Open, scripts: bool) -> None:
    registry = Registry(own.ledger)
    before = registry.current(TASK)
    assert before is not None
    page = browse(own, "/promotions", scripts=scripts)
    page.get_by_label("Move to mode").select_option("strong")
    page.get_by_role("button", name="Review").click()
    assert registry.current(TASK) == before
    shown = page.get_by_role("row", name="Mode").inner_text()
    assert before.mode in shown
    assert "strong" in shown
    page.get_by_label("Why, for the record").fill("<b>to be sure</b>")
    page.get_by_role("button", name="Move to mode strong").click()
    assert "is in mode strong now" in page.get_by_role("status").inner_text()
    moved = registry.current(TASK)
    assert moved is not None
    assert (moved.mode, moved.reason, moved.sequence) == (
        Mode.STRONG,
        "<b>to be sure</b>",
        before.sequence + 1,
    )
    assert page.get_by_text("<b>to be sure</b>").first.is_visible()

    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("button", name="Roll back").click()
    assert "was rolled back" in page.get_by_role("status").inner_text()
    assert registry.deployed(TASK) == before.deployed
    page.reload()
    assert page.locator(".said").count() == 0


def test_of_two_tabs_the_second_is_told(own: Site, browse: Open) -> None:
    first, second = (
        browse(own, "/promotions/move?mode=strong"),
        browse(own, "/promotions/rollback", wrong=CONFLICT),
    )
    first.get_by_role("button", name="Move to mode strong").click()
    with second.expect_response("**/promotions/rollback*") as answer:
        second.get_by_role("button", name="Roll back").click()
    assert answer.value.status == 409
    assert "meanwhile" in second.locator("main").inner_text()
    assert len(Registry(own.ledger).history(TASK)) > 1


def test_a_form_on_another_page_changes_nothing(own: Site, browse: Open) -> None:
    """The attack itself: a page of another place sends the form with the browser's cookies."""
    page = browse(own, "/promotions", wrong=REFUSED)
    before = Registry(own.ledger).current(TASK)
    elsewhere = page.context.new_page()
    elsewhere.set_content(
        f'<form method="post" action="{own.url}/promotions/move"><input name="task" value="default">'
        '<input name="mode" value="strong"><input name="router"><input name="after" value="1">'
        "<button>x</button></form>"
    )
    with elsewhere.expect_response("**/promotions/move") as answer:
        elsewhere.get_by_role("button").click()
    assert answer.value.status == 403
    assert Registry(own.ledger).current(TASK) == before
