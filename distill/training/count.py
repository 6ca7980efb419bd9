"""Counts the tokens of examples by the student's own tokenizer: `count BASE IN OUT`.

Invariant: as many numbers come out as examples went in; one that the template refuses is -1. IN is JSON
lines, OUT a JSON list. Runs in the trainer's Python.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from distill.training.chat import Chat, Refused
from distill.training.files import Exit

UNCOUNTABLE = -1


def main(base: str, lines: str, out: str) -> None:
    """The script."""
    from transformers import AutoTokenizer

    if Path(base).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        chat = Chat(AutoTokenizer.from_pretrained(base))
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr, flush=True)
        sys.exit(Exit.REFUSED)
    with Path(lines).open() as opened:
        counted = [_count(chat, json.loads(line)) for line in opened]
    Path(out).write_text(json.dumps(counted))


def _count(chat: Chat, example: dict[str, object]) -> int:
    try:
        return chat.length(example["messages"], example.get("tools"))  # type: ignore[arg-type]
    except Exception as error:  # a template is a program of strangers, and may raise anything
        print(f"an example cannot be rendered: {error}", file=sys.stderr)
        return UNCOUNTABLE
