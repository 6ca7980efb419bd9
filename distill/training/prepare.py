"""What a training starts from: the plan, the examples, and what the trainer's Python finds on its machine.

Invariant: all that can be refused before any weight is loaded is refused here. Trains nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from distill.dataset.example import Example as DatasetExample
from distill.dataset.example import copies
from distill.dataset.kept import read_dataset
from distill.training import child
from distill.training.files import PARTS
from distill.training.identity import checkpoint_hash
from distill.training.plan import ALL_LINEAR, Plan, micro_batch
from stepdown import __version__
from stepdown.errors import SettingsError, TrainingError
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.settings.distilling import StudentSettings

LOOK_PATIENCE_S = 1800.0  # a base may have to be fetched


class Look(msgspec.Struct, frozen=True):
    """What the trainer's Python finds; the fields are those of `distill.training.look`."""

    base: str
    teacher: str | None
    tokenizer_hash: str
    device: str
    name: str
    count: int
    free_bytes: int
    total_bytes: int


class Example(msgspec.Struct, frozen=True):
    """An example as the trainer's Python reads it.

    Attributes:
        copies: How often it is seen in an epoch.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Any] | None
    copies: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training that can begin.

    Attributes:
        parts: The examples by part, `train` and `validation`.
    """

    plan: Plan
    look: Look
    parts: Mapping[str, Sequence[Example]]

    @property
    def longest(self) -> int:
        """Tokens of the longest example that is not left out."""
        return max((min(e.tokens, self.plan.max_tokens) for e in self._fitting("train")), default=0)

    @property
    def seen(self) -> int:
        """Examples of training that fit, each as often as it is seen in an epoch."""
        return sum(example.copies for example in self._fitting("train"))

    @property
    def epoch_tokens(self) -> int:
        """Tokens of training in an epoch."""
        return sum(example.copies * example.tokens for example in self._fitting("train"))

    @property
    def validation_tokens(self) -> int:
        """Tokens of a validation."""
        return sum(example.tokens for example in self._fitting("validation"))

    def _fitting(self, part: str) -> list[Example]:
        return [e for e in self.parts[part] if e.tokens <= self.plan.max_tokens]


def student_settings(settings: Settings, task: str) -> StudentSettings:
    """How a task's students are made.

    Raises:
        SettingsError: It has none.
    """
    declared = settings.tasks.get(task)
    if declared is None or declared.student is None:
        raise SettingsError(f"task {task!r} has no student; write [tasks.{task}.student] with its base")
    return declared.student


def prepare(ledger: Ledger, settings: Settings, task: str, dataset: Artifact) -> Prepared:
    """Look at base, machine and dataset.

    Raises:
        SettingsError: The task has no student, or a batch that cannot be shared out.
        TrainingError: The base, the teacher or the dataset cannot be used.
    """
    declared = student_settings(settings, task)
    _refuse_half_a_teacher(declared, task)
    parts = read_parts(ledger, dataset, declared.seed)
    look = look_at(settings, declared)
    try:
        at_once = micro_batch(declared.batch, settings.trainer.processes, declared.max_tokens)
    except ValueError as error:
        raise SettingsError(f"tasks.{task}.student.batch: {error}; change it or trainer.processes") from error
    plan = Plan(
        task=task,
        dataset=dataset.id,
        base=declared.base,
        base_hash=_hash_of(Path(look.base)),
        tokenizer_hash=look.tokenizer_hash,
        method=declared.method,
        objective=declared.objective,
        teacher=declared.teacher if look.teacher else None,
        teacher_hash=_hash_of(Path(look.teacher)) if look.teacher else None,
        rank=declared.rank if declared.method == "lora" else 0,
        alpha=declared.alpha if declared.method == "lora" else 0,
        epochs=declared.epochs,
        learning_rate=declared.learning_rate,
        batch=declared.batch,
        micro_batch=at_once,
        processes=settings.trainer.processes,
        checkpoint_steps=declared.checkpoint_steps,
        patience=declared.patience,
        max_tokens=declared.max_tokens,
        targets=declared.targets or ALL_LINEAR,
        seed=declared.seed,
        code=__version__,
    )
    return Prepared(plan, look, parts)


def _refuse_half_a_teacher(declared: StudentSettings, task: str) -> None:
    if declared.objective == "gkd" and not declared.teacher:
        raise SettingsError(
            f'tasks.{task}.student.objective is "gkd", which needs a teacher: set its teacher to an open '
            'checkpoint with the student\'s tokenizer, or objective = "sft"'
        )


def look_at(settings: Settings, declared: StudentSettings) -> Look:
    """What the trainer's Python finds.

    Raises:
        TrainingError: It cannot be started, or refuses base or teacher.
    """
    teacher = declared.teacher if declared.objective == "gkd" and declared.teacher else ""
    found = child.ask(settings, "look", declared.base, teacher, timeout_s=LOOK_PATIENCE_S)
    return msgspec.convert(found, Look)


def _hash_of(checkpoint: Path) -> str:
    try:
        return checkpoint_hash(checkpoint)
    except OSError as error:
        at_fault = Path(error.filename or checkpoint).name
        raise TrainingError(f"{str(checkpoint)!r} is no checkpoint: {at_fault}: {error.strerror}") from error


def read_parts(ledger: Ledger, dataset: Artifact, seed: int) -> dict[str, list[Example]]:
    """The examples of a dataset to train on and to validate with.

    Raises:
        TrainingError: There is none to train on.
    """
    kept = read_dataset(ledger, dataset)
    parts: dict[str, list[Example]] = {
        part: [_example(one, seed) for one in kept.parts.get(part, ())] for part in PARTS
    }
    if not parts["train"]:
        raise TrainingError(f"dataset {dataset.id!r} has no example to train on; build another one")
    return parts


def _example(one: DatasetExample, seed: int) -> Example:
    return Example(one.messages, one.tools or None, copies(one, seed), one.tokens)


def write_parts(parts: Mapping[str, Sequence[Example]], folder: Path) -> None:
    """Write examples for the trainer's Python, readable by this user alone: they are what users wrote."""
    for part, examples in parts.items():
        descriptor = os.open(folder / f"{part}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(msgspec.json.Encoder().encode_lines(examples))


def remove_parts(folder: Path) -> None:
    """Remove what `write_parts` wrote."""
    for part in PARTS:
        (folder / f"{part}.jsonl").unlink(missing_ok=True)
