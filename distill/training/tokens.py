"""Counts tokens by the student's own tokenizer and chat template, in the trainer's Python.

Invariant: the same example has the same count, and is counted once by a counter. This process imports no
tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from distill.dataset.tokens import REFUSED, TokenCounter
from distill.training import child
from distill.training.prepare import student_settings
from stepdown.errors import TrainingError
from stepdown.ids import digest
from stepdown.settings import Settings


def open_counter(settings: Settings, task: str) -> TokenCounter:
    """What counts the tokens of examples for a task's student.

    Each example is a mapping with `messages` and, where it has any, `tools`. One that the chat template
    refuses counts as longer than any cap.

    Raises:
        SettingsError: The task has no student.
    """
    return Counter(settings, student_settings(settings, task).base)


class Counter:
    """Counts tokens, and remembers what it counted.

    Args:
        settings: All settings.
        base: Checkpoint of the student.
    """

    def __init__(self, settings: Settings, base: str) -> None:
        self._settings, self._base = settings, base
        self._counted: dict[str, int] = {}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> list[int]:
        """Tokens of each example, its answer included.

        Raises:
            TrainingError: The tokenizer cannot be read, or has no chat template.
        """
        lines = [msgspec.json.encode({"messages": e["messages"], "tools": e.get("tools")}) for e in examples]
        names = [digest(line) for line in lines]
        new = {name: line for name, line in zip(names, lines, strict=True) if name not in self._counted}
        if new:
            self._counted.update(zip(new, self._ask(list(new.values())), strict=True))
        return [self._counted[name] for name in names]

    def _ask(self, lines: Sequence[bytes]) -> list[int]:
        with TemporaryDirectory(prefix="stepdown-") as folder:  # made for this user alone
            file = Path(folder) / "examples.jsonl"
            file.write_bytes(b"".join(line + b"\n" for line in lines))
            counted = child.ask(self._settings, "count", self._base, str(file))
        if not isinstance(counted, list) or len(counted) != len(lines):
            raise TrainingError("the trainer's Python counted other examples than it was given")
        return [REFUSED if count < 0 else count for count in counted]
