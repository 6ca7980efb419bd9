"""Merges an adapter into its base: a whole checkpoint that any server takes.

Invariant: the merged checkpoint, read back from the disk, says what base and adapter say together, but for
the rounding of bf16; it has the base's tokenizer, chat template and generation settings byte for byte. Runs
in the trainer's Python.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.export.likeness import Likeness, likeness, logits_of, prompt_ids, read_model
from distill.export.plan import Plan, Refused
from distill.training.chat import Refused as Unfetched
from distill.training.identity import checkpoint_hash
from distill.training.look import fetched

LEAST, MOST = 0.05, 0.1
OWN = ("model", "pytorch_model", "config", "adapter", "README", "optimizer", "training_args")
COPIED = (".json", ".jinja", ".txt", ".model", ".tiktoken")


def merge(plan: Plan, folder: Path) -> Mapping[str, Any]:
    """Merge the plan's adapter into its base.

    Returns:
        How much the merged checkpoint says what base and adapter say.

    Raises:
        Refused: The base is another one, has no chat template, or the merged checkpoint says something else.
    """
    from peft import PeftModel
    from transformers import GenerationConfig

    base = base_folder(plan)
    prompts = prompt_ids(tokenizer_of(base))
    model = read_model(base)
    before = logits_of(model, prompts)
    adapted = PeftModel.from_pretrained(model, plan.adapter).eval()
    together = logits_of(adapted, prompts)
    whole = adapted.merge_and_unload(safe_merge=True)
    whole.generation_config = GenerationConfig()  # the base's own is copied; what is odd in it is no bar
    whole.save_pretrained(folder)
    copy_beside(base, folder)
    del model, adapted, whole
    found = likeness(logits_of(read_model(folder), prompts), together)
    tolerance = tolerated(likeness(before, together))
    if not found.within(tolerance):
        raise Refused(
            f"the merged checkpoint does not say what base and adapter say: its logits are {found.error:.3g} "
            f"away, {tolerance:.3g} is allowed for rounding; is {plan.base!r} the base of the adapter, and "
            "do its layers merge exactly?"
        )
    return found.to_json("base and adapter", tolerance)


def tolerated(effect: Likeness) -> float:
    """How far a merged checkpoint may be from base and adapter: the rounding of bf16, a few per cent.

    But never so far that a checkpoint into which nothing was merged would pass, where the adapter changes
    more than rounding does.

    Args:
        effect: The base alone against base and adapter.
    """
    return min(MOST, max(LEAST, effect.error / 2))


def base_folder(plan: Plan) -> Path:
    """The folder of the base, fetched where it is a name.

    Raises:
        Refused: It is another one than the student was trained from, or cannot be had.
    """
    try:
        folder = Path(fetched(plan.base))
    except Unfetched as error:
        raise Refused(str(error)) from error
    try:
        found = checkpoint_hash(folder)
    except OSError as error:
        raise Refused(f"base {plan.base!r} cannot be read: {error}; put it back, or train anew") from error
    if found != plan.base_hash:
        raise Refused(
            f"base {plan.base!r} is not the one that the student was trained from: its config.json and "
            f"weights have hash {found[:12]}, not {plan.base_hash[:12]}; put the old one back, or train anew"
        )
    return folder


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        Refused: It has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise Refused(
            f"checkpoint {str(folder)!r} has no chat template, and no server could serve it; use the chat "
            "(instruct) version of it as `base`"
        )
    return tokenizer


def copy_beside(source: Path, folder: Path) -> None:
    """Copy all of a checkpoint but its weights and its config: tokenizer, template, generation settings."""
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix in COPIED and not file.name.startswith(OWN):
            shutil.copyfile(file, folder / file.name)
