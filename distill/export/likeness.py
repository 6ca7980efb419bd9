"""Whether two models say the same: their logits on a few prompts, side by side.

Invariant: the prompts are fixed and nobody's, so nothing of the traffic is needed to compare, and the same
weights give the same numbers. Runs in the trainer's Python.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROMPTS = (
    "What is 12 + 30? Answer with the number alone.",
    "Name three colours as a JSON list.",
    "Write a Python function that reverses a string.",
    "Is the sentence 'The film was a waste of time.' positive or negative?",
)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far two models' logits are apart on `PROMPTS`.

    Attributes:
        error: Norm of the difference over the norm of the reference's own spread around its mean.
        same_top: Positions at which both hold the same token for the likeliest.
        positions: How many were compared.
    """

    error: float
    same_top: int
    positions: int

    def to_json(self, against: str, tolerance: float) -> Mapping[str, Any]:
        """As JSON values."""
        return {
            "against": against,
            "error": round(self.error, 6),
            "tolerance": round(tolerance, 6),
            "same_top": self.same_top,
            "positions": self.positions,
        }

    def within(self, tolerance: float) -> bool:
        """Whether they are as near as that; what is not a number is not."""
        return math.isfinite(self.error) and self.error <= tolerance


def prompt_ids(tokenizer: Any) -> list[list[int]]:
    """`PROMPTS` as tokens, by the model's own chat template."""
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for prompt in PROMPTS
    ]


def logits_of(model: Any, prompts: Sequence[Sequence[int]]) -> list[Any]:
    """The logits of each prompt's every position, of shape (tokens, vocabulary)."""
    import torch

    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([list(ids)], device=model.device)).logits[0].float().cpu()
            for ids in prompts
        ]


def likeness(of: Sequence[Any], reference: Sequence[Any]) -> Likeness:
    """Compare two models' logits of the same prompts."""
    import torch

    ours, theirs = torch.cat(list(of)), torch.cat(list(reference))
    spread = (theirs - theirs.mean(-1, keepdim=True)).norm()
    same = (ours.argmax(-1) == theirs.argmax(-1)).sum()
    return Likeness(float((ours - theirs).norm() / spread), int(same), int(theirs.shape[0]))


def read_model(folder: Path | str, *, on_gpu: bool = False, **how: Any) -> Any:
    """A checkpoint, for a look at its logits.

    Args:
        folder: Of the checkpoint.
        on_gpu: Whether to take the GPU, if there is one; servers may have all of its memory.
        how: It is to be read otherwise than as a checkpoint of transformers.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **how).to(device).eval()
