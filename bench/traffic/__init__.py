"""Seeded generators of realistic prompts, each with a reference that a check can verify.

Invariant: the same seed and counts give the same prompts, byte for byte. The generators know
nothing of models, of the proxy or of the ledger; `bench.record` sends what they write to models.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.traffic import code, numbers, structured, text
from bench.traffic.prompt import Generator

__all__ = ["GENERATORS", "Prompt", "generate"]

PATIENCE = 1000  # draws in a row that bring nothing new

GENERATORS: dict[str, Generator] = {
    "arithmetic": numbers.arithmetic,
    "discount": numbers.discount,
    "unit_conversion": numbers.unit_conversion,
    "largest_number": numbers.largest_number,
    "date_arithmetic": numbers.date_arithmetic,
    "order_json": structured.order_json,
    "event_json": structured.event_json,
    "csv_json": structured.csv_json,
    "json_value": structured.json_value,
    "table_lookup": structured.table_lookup,
    "sql": code.sql,
    "python_expression": code.python_expression,
    "python_output": code.python_output,
    "ticket_class": text.ticket_class,
    "sentiment": text.sentiment,
    "multiple_choice": text.multiple_choice,
    "iso_date": text.iso_date,
    "email_address": text.email_address,
    "order_number": text.order_number,
    "list_transform": text.list_transform,
    "letter_count": text.letter_count,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of the recorded traffic.

    Attributes:
        kind: Name of the generator, used as the slice tag.
        text: The user message.
        check: Name of the check that verifies an answer (declared in `bench/demo.toml`).
        reference: What the check compares with; its form is the check's own.
    """

    kind: str
    text: str
    check: str
    reference: Any


def generate(seed: int, counts: dict[str, int]) -> Iterator[Prompt]:
    """Yield `counts[kind]` distinct prompts of each kind, in the order of `GENERATORS`.

    Raises:
        ValueError: A kind has no generator, or cannot write that many distinct prompts.
    """
    if unknown := set(counts) - set(GENERATORS):
        raise ValueError(f"unknown kinds {sorted(unknown)!r}; known: {', '.join(GENERATORS)}")
    for kind, generator in GENERATORS.items():
        yield from _distinct(kind, generator, random.Random(f"{seed}:{kind}"), counts.get(kind, 0))


def _distinct(kind: str, generator: Generator, rng: random.Random, count: int) -> Iterator[Prompt]:
    seen: set[str] = set()
    repeats = 0
    while len(seen) < count:
        drawn = generator(rng)
        repeats = repeats + 1 if drawn.text in seen else 0
        if repeats > PATIENCE:
            raise ValueError(f"kind {kind!r} cannot write {count} distinct prompts, only {len(seen)}")
        if not repeats:
            seen.add(drawn.text)
            yield Prompt(kind, drawn.text, drawn.check, drawn.reference)
