"""What clients wrote is text, however long, in whatever script, whatever it would do; new requests appear."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.sync_api import expect

from stepdown.ids import new_id, now
from stepdown.ledger import Body
from tests.browser.conftest import Open, Site
from tests.fakes import completion
from tests.records import a_call, a_decision, a_request

ATTACKS = (
    "<script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "<svg onload=\"document.title='broken'\">",
    "</pre></main><style>* { display: none }</style><iframe src='//evil.example'></iframe>",
    "<a href=\"javascript:document.title='broken'\">click</a>",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "<b hx-get='/promotions' hx-trigger='load'>x</b>",
)
ARABIC = "مرحبا بالعالم، كم يساوي 2 + 2؟"
TEN_MEGABYTES = 10_000_000


def ask(site: Site, prompt: str, answer: str = "Four.", **more: Any) -> str:
    """A request that was answered just now; returns its id."""
    body = Body.of(
        json.dumps({"model": "stepdown", "messages": [{"role": "user", "content": prompt}]}).encode()
    )
    said = Body.of(completion(answer))
    request = a_request(id=new_id(), at=now(), body=body.digest, prompt_hash=body.digest[:32], **more)
    call = a_call(request=request.id, at=now(), body=said.digest, cost_usd_micros=12)
    site.ledger.append([body, said, request, a_decision(request=request.id, at=now()), call])
    return request.id


@pytest.mark.parametrize("attack", ATTACKS)
def test_html_and_scripts_are_text(own: Site, browse: Open, attack: str) -> None:
    name = ask(own, attack, attack, conversation=attack, slice=attack, model_asked=attack)
    page = browse(own, f"/requests/{name}")
    assert page.get_by_role("region", name="Message of user").inner_text() == attack
    assert page.get_by_role("region", name="Answer of").inner_text() == attack
    page.goto("/requests")
    page.wait_for_load_state("networkidle")
    assert attack in page.get_by_role("table").inner_text()
    assert "broken" not in page.title()
    assert page.locator("iframe").count() == 0
    page.goto(f"/requests?text={attack}")
    assert page.get_by_label("Text in prompt or answer").input_value() == attack


def test_text_from_right_to_left_is_set_so(own: Site, browse: Open) -> None:
    name = ask(own, ARABIC, ARABIC)
    page = browse(own, f"/requests/{name}")
    text = page.get_by_role("region", name="Message of user")
    assert text.inner_text() == ARABIC
    assert text.evaluate(STARTS_RIGHT)
    assert not page.locator("h1").evaluate(STARTS_RIGHT)


STARTS_RIGHT = """(one) => {
  const range = document.createRange(), inner = one.getBoundingClientRect();
  range.selectNodeContents(one);
  const text = range.getBoundingClientRect();
  return inner.right - text.right < text.left - inner.left;
}"""


def test_ten_megabytes_are_cut_and_the_rest_is_a_file(own: Site, browse: Open) -> None:
    name = ask(own, "Long. " + "word " * (TEN_MEGABYTES // 5), "x" * TEN_MEGABYTES)
    page = browse(own, f"/requests/{name}")
    shown = page.locator("main").inner_text()
    assert len(shown) < 300_000
    assert "more characters are in the raw text" in shown
    with page.expect_download() as download:
        page.get_by_role("link", name="raw text").first.click()
    assert download.value.path().stat().st_size > TEN_MEGABYTES
    page.goto("/requests")
    assert page.get_by_role("table").is_visible()


def test_what_was_sent_is_never_a_page(own: Site, browse: Open) -> None:
    name = ask(own, ATTACKS[0])
    page = browse(own, f"/requests/{name}")
    address = page.get_by_role("link", name="raw text").first.get_attribute("href")
    headers: Mapping[str, str] = page.request.get(str(address)).headers
    assert headers["content-type"].startswith("text/plain")
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"


def test_new_requests_appear_while_one_looks(own: Site, browse: Open) -> None:
    page = browse(own, "/requests")
    page.get_by_role("link", name="Follow live").click()
    ask(own, "Is this the newest question?")
    expect(page.get_by_role("table")).to_contain_text("Is this the newest question?", timeout=15_000)
    ask(own, "No, this one.")
    expect(page.get_by_role("row").nth(1)).to_contain_text("No, this one.", timeout=15_000)
    page.get_by_role("link", name="Stop following").click()
    assert "No, this one." in page.get_by_role("table").inner_text()


def test_searching_finds_by_text_and_leads_to_the_request(own: Site, browse: Open) -> None:
    ask(own, "What is a <zeppelin>?", "An airship.")
    page = browse(own, "/requests")
    page.get_by_label("Text in prompt or answer").fill("ZEPPELIN")
    page.get_by_role("button", name="Search").click()
    rows = page.get_by_role("row")
    assert rows.count() == 2
    page.get_by_role("link", name="Request of").click()
    assert "An airship." in page.get_by_role("region", name="Answer of").inner_text()
    page.goto("/requests?text=an+airship")
    assert page.get_by_role("row").count() == 2
