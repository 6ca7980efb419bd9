"""A night is started by hand, after one has seen what it would do."""

from __future__ import annotations

from sqlalchemy import select

from stepdown.ledger import schema
from tests.browser.conftest import Open, Site


def test_a_night_is_started_after_a_review(own: Site, browse: Open) -> None:
    def nights() -> list[str]:
        table = schema.nights
        return [str(row.id) for row in own.ledger.rows(select(table.c.id).order_by(table.c.at))]

    before = nights()
    page = browse(own, "/nights?task=sums")
    page.get_by_role("link", name="Start a night now").click()
    assert nights() == before
    page.get_by_role("button", name="Start a night").click()
    assert "is written down" in page.get_by_role("status").first.inner_text()
    started = set(nights()) - set(before)
    assert len(started) == 1
    page.goto("/nights?task=sums")
    assert started.pop().partition("/")[2] in page.get_by_role("table").inner_text()
    page.goto("/nights/start?task=sums")
    assert "A night is under way" in page.locator("main").inner_text()
