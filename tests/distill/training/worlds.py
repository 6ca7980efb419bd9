"""Small worlds to train in: a dataset in a ledger, and settings that name a student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from distill.dataset.example import TRAIN, VALIDATION, Dataset, Example, Origin, Part, Source, example_id
from distill.dataset.kept import Content, keep_dataset, row_of
from distill.dataset.texts import filed
from stepdown.ledger import Body, Ledger
from stepdown.records import Artifact
from stepdown.settings import ModelSettings, Settings, TaskSettings
from stepdown.settings.distilling import StudentSettings, TrainerSettings

TASK = "colours"
COLOURS = ("red", "green", "blue", "yellow")
THINGS = ("stone", "leaf", "river", "lamp", "chair", "boat", "cup", "door")
MODEL = ModelSettings(model="tiny", url="http://127.0.0.1:9/v1")

Pair = tuple[str, str]


def pairs() -> list[Pair]:
    """Questions and answers that a tiny model can learn by heart."""
    return [
        (f"What colour is the {thing}?", f"The {thing} is {COLOURS[place % len(COLOURS)]}.")
        for place, thing in enumerate(THINGS)
    ]


def texts() -> list[str]:
    """What a tiny model's tokenizer is trained on."""
    return [text for pair in pairs() for text in pair] * 4


def a_dataset(
    ledger: Ledger,
    train: Sequence[Pair],
    validation: Sequence[Pair] = (),
    *,
    tokens: int = 30,
    weight: float = 1.0,
) -> Artifact:
    """Keep a dataset of imported pairs."""
    bodies: dict[str, bytes] = {}
    parts: dict[Part, list[Example]] = {TRAIN: [], VALIDATION: []}
    for part, group in ((TRAIN, train), (VALIDATION, validation)):
        for prompt, answer in group:
            example, body = _example(prompt, answer, tokens, weight)
            parts[part].append(example)
            bodies[body.digest] = body.content
    content = Content(rows=[row_of(example, part) for part, group in parts.items() for example in group])
    made = Dataset(
        task=TASK, parts=parts, card={}, content=content.to_bytes(), parents=(), settings={}, bodies=bodies
    )
    return keep_dataset(ledger, made)


def _example(prompt: str, answer: str, tokens: int, weight: float) -> tuple[Example, Body]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    body = Body.of(filed(messages, None))
    origin = Origin(body.digest)
    example = Example(
        id=example_id(Source.IMPORTED, origin),
        request=None,
        messages=messages,
        tools=None,
        source=Source.IMPORTED,
        weight=weight,
        slice=None,
        prompt_hash=body.digest,
        group=body.digest,
        tokens=tokens,
        origin=origin,
    )
    return example, body


def settings_for(
    home: Path, python: str, base: Path | str, *, trainer: TrainerSettings | None = None, **student: object
) -> Settings:
    """Settings of a task whose student is trained from `base`."""
    declared = msgspec.convert({"base": str(base), "batch": 8, "max_tokens": 128, **student}, StudentSettings)
    return Settings(
        home=str(home),
        models={"strong": MODEL, "small": MODEL},
        tasks={TASK: TaskSettings(strong="strong", small="small", student=declared)},
        trainer=msgspec.structs.replace(trainer or TrainerSettings(), python=python),
    )
