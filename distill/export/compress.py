"""Quantises a checkpoint to eight bits with llm-compressor, in the form that vLLM serves.

Invariant: no data is used. Weights are rounded to the nearest value, a scale for each channel; activations
are scaled for each token while the model runs. So the same checkpoint gives the same files, and no prompt
of anybody goes into them. Runs in the trainer's Python.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.export.likeness import likeness, logits_of, prompt_ids, read_model
from distill.export.merge import copy_beside, tokenizer_of
from distill.export.plan import Refused

SCHEMES = {"fp8": "FP8_DYNAMIC", "int8": "W8A8"}
KEPT_WHOLE = ["lm_head"]
TOLERANCE = 0.5  # that it can speak at all: what eight bits cost in quality, the evaluation says


def compress(source: Path, folder: Path, variant: str) -> Mapping[str, Any]:
    """Quantise a checkpoint.

    Returns:
        How much it says what its source says.

    Raises:
        Refused: llm-compressor is not installed, or the quantised checkpoint cannot speak.
    """
    oneshot, modifier = _llmcompressor()
    prompts = prompt_ids(tokenizer_of(source))
    model = read_model(source, on_gpu=True)
    before = logits_of(model, prompts)
    recipe = modifier(targets="Linear", scheme=SCHEMES[variant], ignore=KEPT_WHOLE)
    oneshot(model=model, recipe=recipe)
    model.save_pretrained(folder, save_compressed=True)
    del model
    shutil.rmtree(folder / "logs", ignore_errors=True)
    copy_beside(source, folder)
    found = likeness(logits_of(read_model(folder, on_gpu=True), prompts), before)
    if not found.within(TOLERANCE):
        raise Refused(
            f"the {variant} checkpoint is not what it was made from: its logits are {found.error:.3g} away, "
            f"{TOLERANCE:g} is the most; leave {variant} out of `variants` for this base"
        )
    return found.to_json("merged", TOLERANCE)


def _llmcompressor() -> tuple[Any, Any]:
    import sys

    try:
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import QuantizationModifier
    except ImportError as error:
        raise Refused(
            f"fp8 and int8 are made by llm-compressor, which the trainer's Python does not have ({error}); "
            f"install it: {sys.executable} -m pip install llmcompressor"
        ) from error
    return oneshot, QuantizationModifier
