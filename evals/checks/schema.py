"""Check of an answer in JSON against a JSON Schema.

Invariant: nothing is fetched. A schema may refer to its own parts and to the published metaschemas; one that
refers to another place is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.checks.structure import reference_json
from evals.checks.text import unfenced
from stepdown.errors import CheckError

SHOWN = 3


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer is JSON that is valid against a schema.

    The schema is the one in the settings, or else the reference, or else the one that the request asks for
    in its `response_format`. Without a `$schema` of its own it is of draft 2020-12.

    Attributes:
        schema: The schema; None takes the reference, or the request's.
        formats: Whether `format` is checked too (`date`, `email`, `ipv4` and the like).
        unfence: Whether the JSON may stand in a Markdown code fence.
    """

    version: ClassVar[str] = "1"
    reads_prompt: ClassVar[bool] = True
    schema: Mapping[str, Any] | bool | None = None
    formats: bool = False
    unfence: bool = True

    def __post_init__(self) -> None:
        if self.schema is not None:
            _validator(json.dumps(self.schema), self.formats)

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference; the request may have a schema."""
        return False

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        validator = _validator(json.dumps(self._applying(subject)), self.formats)
        try:
            answer = self._answer(subject.text)
            errors = sorted(validator.iter_errors(answer), key=lambda error: error.json_path)
        except (ValueError, RecursionError) as error:
            return judged(False, f"not JSON: {error}")
        shown = "; ".join(f"{error.json_path}: {error.message[:150]}" for error in errors[:SHOWN])
        return judged(not errors, f"{len(errors)} errors: {shown}" if errors else "valid")

    def _applying(self, subject: Subject) -> Any:
        if self.schema is not None:
            return self.schema
        if subject.reference is not None:
            return reference_json(subject)
        if subject.schema is None:
            raise CheckError(
                "no schema in the settings, in the reference or in the request's response_format"
            )
        return subject.schema

    def _answer(self, text: str) -> Any:
        try:
            return json.loads(text, parse_constant=_no_number)
        except ValueError:
            if not self.unfence:
                raise
            return json.loads(unfenced(text), parse_constant=_no_number)


def asked_schema(response_format: Any) -> Any:
    """The schema that a request asks for by its `response_format`; None where it asks for none."""
    wanted = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    return wanted.get("schema") if isinstance(wanted, Mapping) else None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


@lru_cache(maxsize=64)
def _validator(schema_json: str, formats: bool) -> Any:
    """What validates against a schema.

    Raises:
        CheckError: The schema is none, or refers to another place.
    """
    from jsonschema import Draft202012Validator, SchemaError, validators
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    schema = json.loads(schema_json)
    if not isinstance(schema, dict | bool):
        raise CheckError(f"schema {schema_json[:200]} is not an object")
    if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
        raise CheckError(f"$schema {schema['$schema']!r} is not text")
    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)  # type: ignore[arg-type]
    except SchemaError as error:
        raise CheckError(f"schema is not valid at {error.json_path}: {error.message[:200]}") from error
    _refuse_elsewhere(schema, REGISTRY)
    return kind(schema, registry=REGISTRY, format_checker=kind.FORMAT_CHECKER if formats else None)


def _refuse_elsewhere(schema: Any, registry: Any) -> None:
    """Refuse a schema with a reference that the registry, which fetches nothing, does not resolve."""
    from referencing import Resource
    from referencing.jsonschema import DRAFT202012

    root = Resource.from_contents(schema, default_specification=DRAFT202012)
    _resolve_all(root, registry.resolver_with_root(root))


def _resolve_all(resource: Any, resolver: Any) -> None:
    from referencing.exceptions import Unresolvable

    contents = resource.contents if isinstance(resource.contents, dict) else {}
    for reference in (contents.get("$ref"), contents.get("$dynamicRef")):
        try:
            if isinstance(reference, str):
                resolver.lookup(reference)
        except Unresolvable as error:
            raise CheckError(
                f"schema refers to {reference!r}, which is not in it; nothing is fetched: put it under $defs"
            ) from error
    for inner in resource.subresources():
        _resolve_all(inner, resolver.in_subresource(inner))
