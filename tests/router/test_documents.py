"""JSON in and out: what is malformed is refused in OpenAI's shape, by the field and its value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.documents import decode
from router.feedback import REMEDIES, FeedbackBody
from router.people.desk import REMEDIES as LABEL_REMEDIES
from router.people.desk import LabelBody
from stepdown.errors import BadRequest
from stepdown.ledger import Ledger
from stepdown.settings import ProxySettings
from tests.answered import answered
from tests.fakes import FakeModel
from tests.router.driver import serving, settings_for
from tests.router.ledgers import count
from tests.router.test_feedback import JSON, say

BAD: list[tuple[dict[str, Any], str | None, str]] = [
    ({"thumb": "sideways"}, "thumb", 'got \'sideways\'; thumb is "up" or "down"'),
    ({"thumb": 1}, "thumb", "got 1"),
    ({"score": 1.5}, "score", "got 1.5; score is a number from 0 to 1"),
    ({"score": -0.1}, "score", "got -0.1"),
    ({"score": "1"}, "score", "got '1'"),
    ({"score": True}, "score", "got True"),
    ({"comment": ""}, "comment", "not empty"),
    ({"comment": 3}, "comment", "got 3"),
    ({"outcome": {"won": True}}, "outcome", "got {'won': True}"),
    ({"outcome": ""}, "outcome", "not empty"),
    ({"edit": ["x"]}, "edit", "got ['x']"),
    ({"stars": 5}, "stars", "got 5; the fields are request_id, id, thumb"),
    ({}, None, "give one of thumb, score, comment, outcome, edit"),
    ({"thumb": None}, None, "give one of thumb"),
    ({"id": "other", "thumb": "up"}, "id", "name two requests"),
    ({"request_id": None, "thumb": "up"}, "request_id", "request_id is missing"),
    ({"request_id": 7, "thumb": "up"}, "request_id", "got 7; request_id is the x-stepdown-request-id"),
]


@pytest.mark.parametrize(("fields", "param", "words"), BAD)
async def test_what_is_malformed_is_named(
    ledger: Ledger, strong: FakeModel, fields: dict[str, Any], param: str | None, words: str
) -> None:
    request = answered(ledger)
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        response = await say(client, **{"request_id": request, **fields})
    assert response.status == 400
    assert response.error["type"] == "invalid_request_error"
    assert response.error["param"] == param
    assert words in response.error["message"]
    assert count(ledger, "feedback") == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "Expected `object`"),
        (b'{"comment": "\xff"}', 400, "not UTF-8"),
        (b'{"score": ' + b"9" * 5000 + b"}", 400, "score"),
        (b"[" * 50_000, 413, "at most 8192"),
        (b'{"comment":' + b"[" * 8000, 400, "got `array`"),
        (b'{"edit": "' + b"x" * 9000 + b'"}', 413, "at most 8192"),
    ],
)
async def test_a_body_that_is_no_document_is_refused(
    ledger: Ledger, strong: FakeModel, body: bytes, status: int, words: str
) -> None:
    settings = settings_for(strong.settings("gpt"), proxy=ProxySettings(max_body_bytes=8192))
    async with serving(settings, ledger) as client:
        response = await client.send("POST", "/v1/feedback", body, JSON)
    assert response.status == status
    assert words in response.error["message"]


@pytest.mark.parametrize("declared", [{}, {"content-type": "text/plain"}])
async def test_only_json_is_taken(ledger: Ledger, strong: FakeModel, declared: dict[str, str]) -> None:
    request = answered(ledger)
    body = json.dumps({"request_id": request, "thumb": "up"}).encode()
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        refused = await client.send("POST", "/v1/feedback", body, declared)
        taken = await client.send(
            "POST", "/v1/feedback", body, {"content-type": "Application/JSON; charset=utf-8"}
        )
        method = await client.send("GET", "/v1/feedback")
    assert (refused.status, refused.error["code"]) == (415, "unsupported_media_type")
    assert taken.status == 200
    assert method.status == 405


async def test_a_client_that_hangs_up_is_answered_with_nothing(ledger: Ledger, strong: FakeModel) -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in JSON.items()]
    async with serving(settings_for(strong.settings("gpt")), ledger) as client:
        for path in ("/v1/feedback", "/v1/labels"):
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
            await client.app(scope, receive, send)
    assert sent == []


SHORT = st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | SHORT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(SHORT, inner), max_leaves=8)
FIELDS = st.sampled_from([*REMEDIES, *LABEL_REMEDIES, "other", "a.b", "x[0]", "`"])
READERS = [(FeedbackBody, REMEDIES), (LabelBody, LABEL_REMEDIES)]


@given(st.dictionaries(FIELDS, VALUES, max_size=5) | VALUES)
def test_whatever_json_is_sent_is_taken_or_refused_by_name(document: Any) -> None:
    body = json.dumps(document).encode()
    for kind, remedies in READERS:
        with suppress(BadRequest):
            read = decode(body, msgspec.json.Decoder(kind), remedies)
            sent = {name for name, value in document.items() if value is not None}
            assert sent == {name for name in remedies if getattr(read, name) is not None}


@given(st.binary(max_size=40))
def test_whatever_bytes_are_sent_are_taken_or_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(b"[" + body, msgspec.json.Decoder(FeedbackBody), REMEDIES)
