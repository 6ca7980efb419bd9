"""The dry run: what a training would take in time, memory, disk and money, and whether it can be done.

Invariant: it changes nothing and loads no weight, and every number is a range that says where it is from.
What cannot fit is refused together with what would; what may not fit is only said.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill.training.headers import Size, read_size
from distill.training.memory import Range, disk, memory
from distill.training.plan import Plan, micro_batch, steps
from distill.training.prepare import Prepared, prepare
from distill.training.speed import FORWARD_SHARE, seconds, speed
from stepdown.ledger import Ledger
from stepdown.prices import rent_usd_micros
from stepdown.records import Artifact
from stepdown.settings import Settings

GB = 1e9
SMALLEST_RANK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a training would take.

    Attributes:
        run: Id of the run.
        tokens: Read in all epochs, validations counted as what they cost of a step.
        seconds: Of the whole training, if it does not stop early.
        speed_source: Where the speed is from.
        memory_bytes: On each device.
        memory_limit_bytes: What a device has for it.
        disk_bytes: While it runs.
        cost_usd_micros: Of the machine, by `trainer.usd_per_hour`.
        refusal: Why it cannot be done, and what could; None where it can.
        warnings: What may go wrong, in words.
    """

    run: str
    examples: int
    tokens: int
    steps: int
    seconds: Range
    speed_source: str
    device: str
    memory_bytes: Range
    memory_limit_bytes: float
    disk_bytes: int
    disk_free_bytes: int
    cost_usd_micros: Range
    refusal: str | None
    warnings: tuple[str, ...] = ()


def estimate(
    ledger: Ledger, settings: Settings, task: str, dataset: Artifact, *, seconds_left: float = math.inf
) -> Estimate:
    """What a training would take.

    Args:
        ledger: Where the dataset and earlier trainings are.
        settings: All settings.
        task: Name of the task.
        dataset: The artifact to train on.
        seconds_left: Time that there is for it.

    Raises:
        SettingsError: The task has no student.
        TrainingError: Base, teacher or dataset cannot be used at all.
    """
    return estimate_prepared(ledger, settings, prepare(ledger, settings, task, dataset), seconds_left)


def estimate_prepared(
    ledger: Ledger, settings: Settings, prepared: Prepared, seconds_left: float = math.inf
) -> Estimate:
    """The same of a training that is prepared already."""
    plan, look = prepared.plan, prepared.look
    size = read_size(Path(look.base))
    teacher = read_size(Path(look.teacher)) if look.teacher else None
    at = speed(ledger, settings, plan, size, look.device, look.count)
    tokens, most_steps = _work(prepared)
    takes = seconds(tokens, at)
    fits = _Fits(settings, prepared, size, teacher)
    refusals = [fits.refusal(), _time_refusal(takes, seconds_left, plan), _empty_refusal(prepared)]
    return Estimate(
        run=plan.run,
        examples=len(prepared.parts["train"]),
        tokens=int(tokens),
        steps=most_steps,
        seconds=takes,
        speed_source=at.source,
        device=f"{look.device} ({look.name})",
        memory_bytes=fits.needed(plan),
        memory_limit_bytes=fits.limit,
        disk_bytes=disk(plan, size),
        disk_free_bytes=fits.disk_free,
        cost_usd_micros=takes.times(rent_usd_micros(settings.trainer.usd_per_hour, 1.0)),
        refusal="; ".join(filter(None, refusals)) or None,
        warnings=tuple(fits.warnings(takes, seconds_left)),
    )


def _work(prepared: Prepared) -> tuple[float, int]:
    """Tokens and steps of the whole training."""
    plan = prepared.plan
    most_steps = steps(prepared.seen, plan) if prepared.seen else 0
    validations = math.ceil(most_steps / plan.checkpoint_steps)
    validating = prepared.validation_tokens * validations * FORWARD_SHARE
    return prepared.epoch_tokens * plan.epochs + validating, most_steps


def _empty_refusal(prepared: Prepared) -> str | None:
    if prepared.seen:
        return None
    shortest = min(example.tokens for example in prepared.parts["train"])
    return (
        f"every one of the {len(prepared.parts['train'])} examples is longer than max_tokens = "
        f"{prepared.plan.max_tokens}; the shortest has {shortest} tokens: raise max_tokens"
    )


def _time_refusal(takes: Range, left: float, plan: Plan) -> str | None:
    if takes.low <= left:
        return None
    epochs = plan.epochs * left / takes.likely
    return (
        f"it would take {takes.low / 60:.0f} to {takes.high / 60:.0f} min and there are {left / 60:.0f}; "
        f"what would fit: {takes.likely / 60:.0f} min, epochs = {epochs:.2g}, or a token_budget of "
        f"{left / takes.likely:.0%} of this dataset"
    )


class _Fits:
    """Whether a training fits into a device and a disk."""

    def __init__(self, settings: Settings, prepared: Prepared, size: Size, teacher: Size | None) -> None:
        self._prepared, self._size, self._teacher = prepared, size, teacher
        stated = settings.trainer.memory_gb
        self.limit = stated * GB if stated else float(prepared.look.free_bytes)
        self.disk_free = _free(settings.students_folder)

    def needed(self, plan: Plan) -> Range:
        longest = min(self._prepared.longest, plan.max_tokens)
        return memory(plan, self._size, self._prepared.look.device, longest, self._teacher)

    def refusal(self) -> str | None:
        plan = self._prepared.plan
        needs, reasons = self.needed(plan), []
        if needs.likely > self.limit:
            would = [*self._alternatives(plan), f"a device with {math.ceil(needs.high / GB)} GB"]
            reasons.append(
                f"it needs {needs.low / GB:.1f} to {needs.high / GB:.1f} GB of memory, and the device has "
                f"{self.limit / GB:.1f} GB for it; what would fit: {', '.join(would)}"
            )
        if (on_disk := disk(plan, self._size)) > self.disk_free:
            reasons.append(
                f"it needs {on_disk / GB:.2f} GB of disk for checkpoints and the student, and "
                f"{self.disk_free / GB:.2f} GB are free; what would fit: a lower rank, "
                'method = "lora", or trainer.folder on another disk'
            )
        return "; ".join(reasons) or None

    def _alternatives(self, plan: Plan) -> Iterator[str]:
        """Each change alone that would make it fit, in words."""
        for words, changed in _changes(plan):
            if self.needed(changed).high <= self.limit:
                yield words

    def warnings(self, takes: Range, left: float) -> Iterator[str]:
        needs = self.needed(self._prepared.plan)
        if needs.likely <= self.limit < needs.high:
            yield f"memory may not suffice: up to {needs.high / GB:.1f} of {self.limit / GB:.1f} GB"
        if takes.low <= left < takes.high:
            yield f"time may not suffice: up to {takes.high / 60:.0f} of {left / 60:.0f} min"


def _changes(plan: Plan) -> Iterator[tuple[str, Plan]]:
    if plan.method == "full":
        yield 'method = "lora"', dataclasses.replace(plan, method="lora", rank=16)
    rank = plan.rank // 2
    while rank >= SMALLEST_RANK:
        yield f"rank = {rank}", dataclasses.replace(plan, rank=rank)
        rank //= 2
    batch = plan.batch // 2
    while batch >= plan.processes and batch % plan.processes == 0:
        at_once = micro_batch(batch, plan.processes, plan.max_tokens)
        yield f"batch = {batch}", dataclasses.replace(plan, batch=batch, micro_batch=at_once)
        batch //= 2
    for shorter in (plan.max_tokens // 2, plan.max_tokens // 4):
        if shorter >= 16:
            at_once = micro_batch(plan.batch, plan.processes, shorter)
            changed = dataclasses.replace(plan, max_tokens=shorter, micro_batch=at_once)
            yield f"max_tokens = {shorter}", changed


def _free(folder: Path) -> int:
    """Bytes free on the disk where a folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
