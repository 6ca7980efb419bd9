"""One item of the queue by its id."""

from __future__ import annotations

import msgspec

from router.people.shelf import read_item, read_page
from router.people.verdicts import Statement, keep_verdict
from stepdown.ledger import Ledger
from stepdown.records import Tier
from stepdown.settings import TaskSettings
from tests.answered import answered, call_with
from tests.router.people.test_desk import queue_up

ON_BOTH_DATABASES = True


def test_an_item_that_was_labelled_is_there_as_it_was_shown(ledger: Ledger) -> None:
    request = answered(ledger, "What is 6*7?", "42", "about 40", reference="42")
    queue_up(ledger, request)
    (served,) = read_page(ledger, "default", "ada", 1).items
    keep_verdict(ledger, {"default": TaskSettings()}, Statement(served.id, "ada", "tie"))
    assert not read_page(ledger, "default", "ada", 1).items
    again = read_item(ledger, served.id, "ada")
    assert again is not None
    assert msgspec.json.encode(again) == msgspec.json.encode(served)
    told = read_item(ledger, served.id, "ada", with_reference=True)
    assert told is not None
    assert told.reference is not None


def test_an_item_with_other_answers_by_now_is_none(ledger: Ledger) -> None:
    request = answered(ledger, "What is 6*7?", "42", "about 40")
    queue_up(ledger, request)
    (served,) = read_page(ledger, "default", "ada", 1).items
    assert read_item(ledger, f"{request}.0123456789abcdef", "ada") is None
    assert read_item(ledger, "é\x00", "ada") is None
    ledger.append(call_with(request, Tier.SMALL, "no, 41"))
    assert read_item(ledger, served.id, "ada") is None
