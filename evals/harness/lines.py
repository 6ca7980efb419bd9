"""Lines of JSON: each an object whose fields are looked at one by one.

Invariant: of a line that cannot be used it is said what is wrong, and no more of it is shown than its
beginning. Pure, and knows nothing of what the lines are about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class LineFault(Exception):
    """Why a line is not what it should be."""


def read_object(line: bytes) -> Mapping[str, Any]:
    """The object that a line is.

    Raises:
        LineFault: It is none.
    """
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineFault(f"not JSON: {error}, got {line[:80]!r}") from error
    if not isinstance(row, dict):
        raise LineFault(f"{type(row).__name__}, not an object")
    return row


def text_field(row: Mapping[str, Any], name: str) -> str | None:
    """A field that is text, or None where it is absent or empty.

    Raises:
        LineFault: It is anything else.
    """
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise LineFault(f"{name} = {value!r:.100} is not text")
    return value or None
