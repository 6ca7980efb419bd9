"""What is malformed at the labelling desk is refused by the field and its value."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stepdown.ledger import Ledger
from tests.answered import answered, labels_in
from tests.router.driver import serving, settings_for
from tests.router.people.test_desk import MODEL, fetch, items_of, label, queue_up


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ("limit=0", "limit", "limit = '0': it is a whole number from 1 to 100"),
        ("limit=101", "limit", "'101'"),
        ("limit=ten", "limit", "'ten'"),
        ("limit=1.5", "limit", "'1.5'"),
        ("limit=1&limit=2", "limit", "given twice"),
        ("reference=maybe", "reference", "'maybe'"),
        ("annotator=", "annotator", "'' is no name"),
        ("annotator=a%0Ab", "annotator", "is no name"),
        ("annotator=" + "x" * 65, "annotator", "is no name"),
        ("annotator=%ff", None, "cannot be read"),
        ("task=%00", "task", "is not known"),
        ("sort=why", "sort", "there are task, limit, annotator, reference"),
        ("x" * 30 + "&" * 50, None, "cannot be read"),
    ],
)
async def test_a_query_that_is_malformed_is_named(
    ledger: Ledger, query: str, param: str | None, words: str
) -> None:
    async with serving(settings_for(MODEL), ledger) as client:
        response = await fetch(client, query)
    assert response.status in (400, 404)
    assert response.error["param"] == param
    assert words in response.error["message"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"verdict": "best"}, "verdict", "got 'best'; verdict is a, b, tie, bad"),
        ({"verdict": None}, "verdict", "verdict is a, b"),
        ({"id": None}, "id", "id of an item"),
        ({"id": ""}, "id", "id of an item"),
        ({"id": "x" * 101}, "id", "id of an item"),
        ({"seconds": -1}, "seconds", "got -1"),
        ({"comment": "x" * 10_001}, "comment", "at most 10000"),
        ({"annotator": ["ada"]}, "annotator", "got ['ada']"),
        ({"annotator": " "}, "annotator", "is no name"),
        ({"model": "gpt"}, "model", "got 'gpt'; the fields are id, verdict"),
    ],
)
async def test_a_label_that_is_malformed_is_named(
    ledger: Ledger, fields: dict[str, Any], param: str, words: str
) -> None:
    request = answered(ledger)
    queue_up(ledger, request)
    async with serving(settings_for(MODEL), ledger) as client:
        (item,) = await items_of(client)
        response = await label(client, **{"id": item["id"], "verdict": "good", **fields})
        missing = await label(client, id=item["id"])
    assert (response.status, response.error["param"]) == (400, param)
    assert re.search(re.escape(words), response.error["message"])
    assert (missing.status, missing.error["param"]) == (400, "verdict")
    assert labels_in(ledger) == []
