"""How much memory and disk a training takes, by arithmetic.

Invariant: pure. The numbers are estimates, and so are ranges: weights, gradients and the optimizer's two
moments are known to the byte; activations and what a framework keeps aside are not.
"""

from __future__ import annotations

from typing import NamedTuple

from distill.training.headers import Size
from distill.training.plan import Plan

HALF, SINGLE = 2, 4  # bytes
MOMENTS = 2  # of Adam
RUNTIME_BYTES = {"cpu": 0.7e9, "cuda": 1.2e9}  # libraries, kernels and the allocator's slack
VALUES_OF_A_LAYER = 34  # kept for the way back, for each of `hidden` (Korthikanti et al. 2022, section 4.1)
LOGITS = 4  # copies of them that a loss keeps
CHUNK = 256  # tokens whose logits are held at once, where not all are
WIDTH = (0.8, 1.5)  # of the range, on what is not known to the byte
CHECKPOINTS = 4  # on the disk at once, the one being written among them


class Range(NamedTuple):
    """An estimate with the range that it is to be read with; no probability is claimed for it."""

    low: float
    likely: float
    high: float

    @classmethod
    def around(cls, exact: float, guessed: float, width: tuple[float, float] = WIDTH) -> Range:
        """What is known plus what is guessed."""
        return cls(exact + guessed * width[0], exact + guessed, exact + guessed * width[1])

    def times(self, factor: float) -> Range:
        """The range of a multiple."""
        return Range(*(value * factor for value in self))


def trained(plan: Plan, size: Size) -> int:
    """Parameters that are learnt."""
    return size.parameters if plan.method == "full" else size.adapter_parameters(plan.rank, plan.targets)


def memory(plan: Plan, size: Size, device: str, longest: int, teacher: Size | None = None) -> Range:
    """Bytes of memory that a training takes on a device.

    Args:
        plan: Of the run.
        size: Of the student.
        device: `cpu` or `cuda`.
        longest: Tokens of the longest example.
        teacher: Its size, for gkd.
    """
    frozen_bytes = HALF if device == "cuda" and plan.method == "lora" else SINGLE
    known = size.parameters * frozen_bytes + trained(plan, size) * SINGLE * (1 + MOMENTS)
    if plan.method == "lora":
        known += trained(plan, size) * SINGLE
    if teacher is not None:
        known += teacher.parameters * frozen_bytes
    return Range.around(known, _activations(plan, size, device, longest) + RUNTIME_BYTES[device])


def _activations(plan: Plan, size: Size, device: str, longest: int) -> float:
    tokens = plan.micro_batch * longest
    width = HALF if device == "cuda" else SINGLE
    layer = tokens * size.hidden * VALUES_OF_A_LAYER * width / HALF
    recomputed = device == "cuda" and plan.objective == "sft"
    kept = layer + tokens * size.hidden * width * size.layers if recomputed else layer * size.layers
    whole = plan.objective == "gkd"  # TRL's other trainer takes the vocabulary chunk by chunk
    logits = (tokens if whole else min(tokens, CHUNK)) * size.vocabulary * SINGLE * LOGITS
    return kept + logits


def disk(plan: Plan, size: Size) -> int:
    """Bytes on the disk that a training takes while it runs."""
    learnt = trained(plan, size) * SINGLE
    return learnt * (1 + MOMENTS) * CHECKPOINTS + learnt
