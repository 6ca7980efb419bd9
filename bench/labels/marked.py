"""Recorded answers with the marks that their publisher gave them.

A file is JSON lines, gzipped or not: `id`, `prompt`, `reference` (a number) and, for each of two models, its
answer and whether the publisher marked it right. A line that cannot be used stops the reading by name.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import msgspec

from router.prompt import Prompt, prompt_hash
from stepdown.errors import RecordingError


class Model(NamedTuple):
    """Where a model's answers and marks are, and the least agreement asked of a check on them."""

    name: str
    answer: str
    mark: str
    least: float


MODELS = (
    Model("strong", "strong_response", "strong_correct", 0.96),
    Model("small", "weak_response", "weak_correct", 0.98),
)


class Row(msgspec.Struct, frozen=True):
    """One line."""

    id: str
    prompt: str
    reference: int | float
    strong_response: str
    weak_response: str
    strong_correct: float
    weak_correct: float


class Marked(NamedTuple):
    """One answer with its mark.

    Attributes:
        group: Answers to the same prompt share it.
    """

    id: str
    group: str
    reference: int | float
    answer: str
    marked_good: bool


def read_marked(path: Path) -> list[Row]:
    """Read a recording.

    Raises:
        RecordingError: The file is not there, cannot be read or is empty, or a line lacks a column.
    """
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    except FileNotFoundError as error:
        raise RecordingError(
            f"recording {str(path)!r} is not there: name a file of marked answers with --gsm8k FILE"
        ) from error
    except (OSError, EOFError) as error:
        raise RecordingError(f"recording {str(path)!r} cannot be read: {error}") from error
    rows = [_row(line, f"{path.name}:{n}") for n, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise RecordingError(f"recording {str(path)!r} has no line; it needs one for each prompt")
    return rows


def answers_of(rows: list[Row], model: Model) -> list[Marked]:
    """One model's answers."""
    return [
        Marked(
            row.id,
            prompt_hash(Prompt("", "", row.prompt, 1, frozenset(), None, None)),
            row.reference,
            getattr(row, model.answer),
            getattr(row, model.mark) >= 0.5,
        )
        for row in rows
    ]


def _row(line: bytes, place: str) -> Row:
    try:
        return msgspec.json.decode(line, type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"{place}: not a row of marked answers: {error}") from error
