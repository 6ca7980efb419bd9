"""Recorded outcomes: prompts, and whether each of two models was right.

A file is JSON lines, gzipped or not: `prompt`, a column for each model (0 to 1; at least 0.5 is right)
and, where there are kinds of prompts, `group`. A line that cannot be used stops the reading by name.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from router.fitting.fit import Example
from router.prompt import Prompt, prompt_hash
from stepdown.errors import RecordingError

STRONG, SMALL = "strong_correct", "weak_correct"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One recording.

    Attributes:
        slices: The kind of each prompt, or None where the recording has no kinds.
    """

    name: str
    examples: tuple[Example, ...]
    slices: tuple[str, ...] | None

    @property
    def texts(self) -> list[str]:
        """The prompts' texts."""
        return [example.prompt.text for example in self.examples]

    @property
    def groups(self) -> list[str]:
        """Duplicates share a group."""
        return [example.group for example in self.examples]

    @property
    def good(self) -> NDArray[np.float64]:
        """Outcomes, strong first. (n, 2)."""
        return np.array([(e.strong_good, e.small_good) for e in self.examples])


def read_outcomes(path: Path, *, strong: str = STRONG, small: str = SMALL) -> Outcomes:
    """Read a recording.

    Args:
        path: JSON lines; gzipped if the name ends in .gz.
        strong: Column of the strong model's outcome.
        small: Column of the small model's outcome.

    Raises:
        RecordingError: The file cannot be read, is empty, or a line lacks a column.
    """
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    except (OSError, EOFError) as error:
        raise RecordingError(f"recording {str(path)!r} cannot be read: {error}") from error
    examples = tuple(
        _example(line, f"{path.name}:{number}", strong, small)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )
    if not examples:
        raise RecordingError(f"recording {str(path)!r} has no line; it needs one for each prompt")
    kinds = tuple(example.slice for example in examples)
    known = tuple(kind for kind in kinds if kind is not None)
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return Outcomes(name, examples, known if len(known) == len(kinds) else None)


def _example(line: bytes, place: str, strong: str, small: str) -> Example:
    try:
        row: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"{place}: not a JSON object: {error}") from error
    text = row.get("prompt")
    if not isinstance(text, str):
        raise RecordingError(f"{place}: prompt = {text!r} must be text")
    prompt = Prompt("", "", text, 1, frozenset(), None, None)
    kind = row.get("group")
    return Example(
        prompt,
        prompt_hash(prompt),
        _outcome(row, strong, place),
        _outcome(row, small, place),
        None if kind is None else str(kind),
    )


def _outcome(row: dict[str, Any], column: str, place: str) -> float:
    value = row.get(column)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        known = ", ".join(sorted(row))
        raise RecordingError(f"{place}: {column} = {value!r} must be 0 to 1; columns: {known}")
    return float(value >= 0.5)
