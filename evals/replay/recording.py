"""Recordings: prompts with the answers that two models gave them. The form is in `docs/recordings.md`.

Invariant: a line that cannot be used is refused by its number; nothing is guessed for it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from router.prompt import ChatView, Message, Prompt, prompt_hash, prompt_of
from stepdown.errors import RecordingError
from stepdown.records import Tier

CHARACTERS_PER_TOKEN = 4
ALIASES = {
    Tier.STRONG: ("strong", "strong_response"),
    Tier.SMALL: ("small", "small_response", "weak_response"),
}


class RecordedAnswer(msgspec.Struct, frozen=True):
    """What one model answered; fields that the product does not need are kept out.

    Attributes:
        prompt_tokens: As counted when recorded; None lets the replay estimate them from the text.
    """

    text: str
    model: str | None = None
    finish_reason: str | None = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedPair:
    """One prompt with the answers of both models.

    Attributes:
        messages: The messages of the chat request.
        reference: What the check compares an answer with, or None.
        check: Name of the check, or None for the task's default.
        slice: The kind of query, or None.
        answers: By tier.
    """

    messages: tuple[Mapping[str, Any], ...]
    reference: Any
    check: str | None
    slice: str | None
    answers: Mapping[Tier, RecordedAnswer]

    @property
    def prompt(self) -> Prompt:
        """The prompt as the router sees it."""
        return prompt_of(ChatView(model="recorded", messages=msgspec.convert(self.messages, list[Message])))

    @property
    def key(self) -> str:
        """The prompt's hash."""
        return prompt_hash(self.prompt)


def load_recording(path: Path, *, limit: int | None = None) -> list[RecordedPair]:
    """Read a recording from JSON lines, gzipped or not; later duplicates of a prompt are left out.

    Raises:
        RecordingError: The file cannot be read, is empty, or a line cannot be used.
    """
    pairs: dict[str, RecordedPair] = {}
    for number, line in _lines(path):
        pair = _pair(path, number, line)
        pairs.setdefault(pair.key, pair)
        if limit is not None and len(pairs) == limit:
            break
    if not pairs:
        raise RecordingError(f"{path} holds no recorded pair")
    return list(pairs.values())


def estimated_tokens(text: str) -> int:
    """Tokens of a text where no count was recorded: four characters each, at least one."""
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingError(f"recording {str(path)!r} cannot be read: {error}") from error


def _pair(path: Path, number: int, line: str) -> RecordedPair:
    where = f"{path.name}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordingError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RecordingError(f"{where} is {type(row).__name__}, not an object")
    return RecordedPair(
        messages=_messages(where, row),
        reference=row.get("reference"),
        check=row.get("check"),
        slice=row.get("slice", row.get("group")),
        answers={tier: _answer(where, row, names) for tier, names in ALIASES.items()},
    )


def _messages(where: str, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    if isinstance(row.get("prompt"), str):
        return ({"role": "user", "content": row["prompt"]},)
    try:
        msgspec.convert(row.get("messages"), list[Message])
    except msgspec.ValidationError as error:
        raise RecordingError(f"{where} has neither a `prompt` (text) nor chat `messages`: {error}") from error
    return tuple(row["messages"])


def _answer(where: str, row: Mapping[str, Any], names: Sequence[str]) -> RecordedAnswer:
    found = next((row[name] for name in names if row.get(name) is not None), None)
    if found is None:
        raise RecordingError(
            f"{where} has no answer under {' or '.join(names)}; a replay needs the texts of both models"
        )
    try:
        return msgspec.convert({"text": found} if isinstance(found, str) else found, RecordedAnswer)
    except msgspec.ValidationError as error:
        raise RecordingError(f"{where}, {names[0]}: {error}") from error
