"""One prompt to several models at once: text is there before the answer has ended, and costs are told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Site
from tests.fakes import Asked, FakeModel, Reply, error, streamed

SLOW_S = 0.4
SAID = "one two three four five <script>document.title='broken'</script> شكرا"


def slowly(asked: Asked) -> Reply:
    return streamed(SAID, pause_s=SLOW_S)


@pytest.fixture
def talking(upstream: FakeModel) -> Iterator[FakeModel]:
    before, upstream.behaviour = upstream.behaviour, slowly
    yield upstream
    upstream.behaviour = before


def test_answers_are_streamed_side_by_side(own: Site, browse: Open, talking: FakeModel) -> None:
    page = browse(own, "/playground")
    page.get_by_label("Prompt", exact=True).fill("Count <b>to</b> five.")
    chosen = page.locator("input[name^='ask:']:checked").count()
    assert chosen >= 2
    page.get_by_role("button", name="Ask").click()
    columns = page.get_by_role("article", name=re.compile("Answer of"))
    expect(columns).to_have_count(chosen)
    for number in range(chosen):
        text = columns.nth(number).locator("pre")
        expect(text).to_contain_text("one two")
        assert "five" not in text.inner_text()  # there is more to come
        expect(columns.nth(number)).to_have_attribute("aria-busy", "true")
    for number in range(chosen):
        expect(columns.nth(number)).to_have_attribute("aria-busy", "false", timeout=60_000)
        shown = columns.nth(number).inner_text()
        assert "<script>document.title='broken'</script>" in shown
        assert "شكرا" in shown
        assert "$" in shown
    assert page.title() == "Playground · Stepdown"
    assert page.locator("#advice").inner_text()
    assert all("Count <b>to</b> five." in asked.body.decode() for asked in talking.asked[-chosen:])


def test_it_can_be_stopped(own: Site, browse: Open, talking: FakeModel) -> None:
    page = browse(own, "/playground")
    page.get_by_label("Prompt", exact=True).fill("Count.")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answers pre").first).to_contain_text("one")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("stopped")
    assert "five" not in page.locator("#answers").inner_text()


def test_a_model_that_fails_says_so_beside_the_others(
    own: Site, browse: Open, upstream: FakeModel, talking: FakeModel
) -> None:
    upstream.behaviour = lambda asked: (
        error(500, "<i>no</i>") if "small" in asked.json["model"] else streamed("fine")
    )
    page = browse(own, "/playground")
    page.get_by_label("Prompt", exact=True).fill("Count.")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#state")).to_have_text("done", timeout=60_000)
    assert page.locator("#answers .error:visible").count() >= 1
    assert "fine" in page.locator("#answers").inner_text()
    assert page.locator("#answers i").count() == 0


def test_it_answers_without_scripts(own: Site, browse: Open, upstream: FakeModel, talking: FakeModel) -> None:
    upstream.behaviour = lambda asked: streamed("All at once.") if asked.json.get("stream") else slowly(asked)
    page = browse(own, "/playground", scripts=False)
    page.get_by_label("Prompt", exact=True).fill("Count.")
    page.get_by_role("button", name="Ask").click()
    assert "All at once." in page.locator("#answers").inner_text()
    assert page.get_by_label("Prompt", exact=True).input_value() == "Count."
