"""Writes values as TOML, for the few files and snippets that the harness makes. Pure.

Invariant: what `tomllib` reads back is the value that was written; None has no form in TOML and is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_bare = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if _bare.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """A value on one line.

    Raises:
        TypeError: It has no form in TOML.
    """
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(str(k))} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str | int):
        raise TypeError(f"{value!r} has no form in TOML")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
