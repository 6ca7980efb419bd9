"""Answers against a JSON Schema, which is never fetched."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import build_check
from evals.checks.outcome import Subject
from evals.checks.schema import Schema
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('{"name": "Ada"}', True),
        ('Here:\n```json\n{"name": "Ada"}\n```', True),
        ('{"name": 1}', False),
        ("{}", False),
        ('{"name": "Ada", "x": 1}', False),
        ('{"name": NaN}', False),
        ("Ada", False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_valid_or_not_wherever_the_schema_is_from(text: str, good: bool) -> None:
    for check, reference, asked in (
        (Schema(schema=PERSON), None, None),
        (Schema(), PERSON, None),
        (Schema(), json.dumps(PERSON), {"type": "null"}),
        (Schema(), None, PERSON),
    ):
        outcome = check(Subject(text, reference, schema=asked))
        assert outcome.verdict is (GOOD if good else BAD)


def test_what_is_wrong_is_told_by_its_path() -> None:
    outcome = Schema(schema={"properties": {"a": {"items": {"type": "integer"}}}})(Subject('{"a": [1, "x"]}'))
    assert outcome.evidence == "1 errors: $.a[1]: 'x' is not of type 'integer'"


def test_formats_count_where_they_are_asked_for() -> None:
    subject = Subject('{"name": "Ada", "born": "yesterday"}')
    assert Schema(schema=PERSON)(subject).verdict is GOOD
    assert Schema(schema=PERSON, formats=True)(subject).verdict is BAD


def test_the_draft_is_2020_12_or_what_the_schema_says() -> None:
    tuples = {"prefixItems": [{"type": "string"}], "items": False}
    assert Schema(schema=tuples)(Subject('["a", 1]')).verdict is BAD
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert Schema(schema=old)(Subject("1")).verdict is BAD


def test_without_a_schema_there_is_no_verdict() -> None:
    assert not Schema().needs_reference
    with pytest.raises(CheckError, match="no schema in the settings, in the reference or in the request"):
        Schema()(Subject("1"))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, r"schema is not valid at \$\.type: 'strin'"),
        ({"$schema": 3}, r"\$schema 3 is not text"),
        (
            {"properties": {"a": {"$ref": "https://example.com/a.json"}}},
            "refers to 'https://example.com/a.json'",
        ),
        ({"$ref": "file:///etc/passwd"}, "refers to 'file:///etc/passwd'.*nothing is fetched"),
        ({"$ref": "#/$defs/missing"}, r"refers to '#/\$defs/missing', which is not in it"),
        ({"$defs": {"a": {"$id": "https://a.test/x", "items": {"$ref": "y"}}}}, "refers to 'y'"),
    ],
)
def test_a_schema_that_is_none_or_lies_elsewhere_is_refused_at_once(
    schema: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any) -> Any:
        pytest.fail("something was fetched")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(CheckError, match=said):
        build_check("s", {"kind": "schema", "schema": schema})
    with pytest.raises(CheckError, match=said):
        Schema()(Subject("1", schema))


def test_a_schema_may_refer_to_its_own_parts() -> None:
    tree = {
        "$id": "https://a.test/tree",
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"of": {"items": {"$ref": "tree#/$defs/node"}}}}},
        "examples": [{"$ref": "https://nowhere.test"}],
    }
    assert Schema(schema=tree)(Subject('{"of": [{"of": []}]}')).verdict is GOOD
    assert Schema(schema=tree)(Subject('{"of": [{"of": [1]}]}')).verdict is BAD
    meta = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert Schema(schema=meta)(Subject('{"type": "strin"}')).verdict is BAD


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=6))
def test_any_reference_that_is_no_schema_is_refused(reference: Any) -> None:
    if reference is None or isinstance(reference, bool):
        return
    with pytest.raises(CheckError):
        Schema()(Subject("1", [reference]))
