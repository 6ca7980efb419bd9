"""Whether an adapter is what its manifest says, and fits the base under which it is to be served.

Invariant: files are read and nothing else; no weight is loaded. An adapter of the wrong rank or base is
refused before any server sees it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from distill.training.headers import Tensor, all_tensors, tensors
from distill.training.identity import checkpoint_hash
from stepdown.errors import ServingError, TrainingError
from stepdown.students import Manifest

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def check_adapter(folder: Path, manifest: Manifest, base: Path | None = None) -> None:
    """Refuse an adapter that is not what it should be.

    Args:
        folder: Of the adapter.
        manifest: What it should be.
        base: Folder of the checkpoint under which it is to be served, where it can be seen from here.

    Raises:
        ServingError: It has another rank or base, or its files cannot be read.
    """
    config = _config(folder)
    if config.get("r") != manifest.rank:
        raise ServingError(
            f"adapter {str(folder)!r} has rank {config.get('r')!r} and not {manifest.rank}, as its manifest "
            "says; train the student again"
        )
    try:
        found = tensors(folder / WEIGHTS)
    except TrainingError as error:
        raise ServingError(f"adapter {str(folder)!r} is broken: {error}") from error
    _refuse_other_rank(folder, found, manifest.rank)
    if base is not None:
        _refuse_other_base(folder, found, manifest, base)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ServingError(f"adapter {str(folder)!r} is broken: {CONFIG}: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ServingError(f"adapter {str(folder)!r} is no LoRA adapter by its {CONFIG}")
    return config


def _refuse_other_rank(folder: Path, found: dict[str, Tensor], rank: int) -> None:
    for name, tensor in found.items():
        ranks = {"A": tensor.shape[0], "B": tensor.shape[-1]}
        for side, has in ranks.items():
            if f".lora_{side}." in name and has != rank:
                raise ServingError(f"adapter {str(folder)!r} has rank {has} in {name!r}, and not {rank}")


def _refuse_other_base(folder: Path, found: dict[str, Tensor], manifest: Manifest, base: Path) -> None:
    try:
        has = checkpoint_hash(base)
    except OSError as error:
        raise ServingError(f"base {str(base)!r} cannot be read: {error}") from error
    if has != manifest.base_hash:
        raise ServingError(
            f"adapter {str(folder)!r} was trained from a checkpoint whose config.json and weights have hash "
            f"{manifest.base_hash[:12]}, and {str(base)!r} has {has[:12]}; serve it under {manifest.base!r}"
        )
    try:
        weights = all_tensors(base)
    except TrainingError as error:
        raise ServingError(f"base {str(base)!r} is broken: {error}") from error
    for name, tensor in found.items():
        _refuse_other_shape(folder, name, tensor, weights)


def _refuse_other_shape(folder: Path, name: str, tensor: Tensor, weights: dict[str, Tensor]) -> None:
    layer, _, side = name.removeprefix(PREFIX).removesuffix(".weight").partition(".lora_")
    below = weights.get(f"{layer}.weight")
    if not weights or side not in ("A", "B"):
        return
    if below is None:
        raise ServingError(f"adapter {str(folder)!r} changes layer {layer!r}, which its base does not have")
    wide, needed = (tensor.shape[-1], below.shape[-1]) if side == "A" else (tensor.shape[0], below.shape[0])
    if wide != needed:
        raise ServingError(
            f"adapter {str(folder)!r} has width {wide} in {name!r}, and its base {needed}: it is of another"
        )
