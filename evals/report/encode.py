"""A report as JSON: the tree as it is, keys in a fixed order, what is undefined as null."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import msgspec


def to_json(report: object) -> bytes:
    """A report as indented JSON, ending in a newline; the same report gives the same bytes.

    NaN and the infinities, of which JSON has none, become null.
    """
    encoded = msgspec.json.encode(_plain(report), order="deterministic")
    return msgspec.json.format(encoded, indent=2) + b"\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value
