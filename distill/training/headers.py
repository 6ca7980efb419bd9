"""What a checkpoint is, read from its `config.json` and the headers of its weights.

Invariant: no weight is read, and no library of models is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stepdown.errors import TrainingError

LONGEST_HEADER = 100 << 20
NOT_ADAPTED = ("embed", "lm_head", "wte", "wpe")


class Tensor(NamedTuple):
    """A tensor as a header has it."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Size:
    """What of a model decides the memory that its training takes.

    Attributes:
        parameters: All of them.
        linear: Shapes (out, in) of the layers that an adapter of `all-linear` goes to, by name.
    """

    parameters: int
    hidden: int
    layers: int
    vocabulary: int
    linear: Mapping[str, tuple[int, int]]

    def adapter_parameters(self, rank: int, targets: str | tuple[str, ...]) -> int:
        """Parameters of an adapter."""
        everywhere = isinstance(targets, str)
        return sum(
            rank * (out + into)
            for name, (out, into) in self.linear.items()
            if everywhere or name.removesuffix(".weight").rpartition(".")[2] in targets
        )


def tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        TrainingError: It is none.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= LONGEST_HEADER:
                raise ValueError(f"its header would be {length} bytes long")
            found: dict[str, Any] = msgspec.json.decode(opened.read(length))
        found.pop("__metadata__", None)
        return {name: Tensor(one["dtype"], tuple(one["shape"])) for name, one in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"weights {str(file)!r} cannot be read: {error}") from error


def all_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of all safetensors files in a folder.

    Raises:
        TrainingError: One cannot be read.
    """
    return {name: one for file in sorted(folder.glob("*.safetensors")) for name, one in tensors(file).items()}


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's `config.json`.

    Raises:
        TrainingError: It is missing or malformed.
    """
    file = folder / "config.json"
    try:
        found = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise TrainingError(
            f"{str(file)!r} cannot be read: {error}; `base` has to be a checkpoint of transformers"
        ) from error
    if not isinstance(found, dict):
        raise TrainingError(f"{str(file)!r} is no configuration of a model")
    return found


def read_size(folder: Path) -> Size:
    """What of a checkpoint decides the memory that its training takes.

    Raises:
        TrainingError: Its configuration or weights cannot be read.
    """
    config, found = read_config(folder), all_tensors(folder)
    text = {**config, **(config.get("text_config") or {})}
    if not found:
        raise TrainingError(f"{str(folder)!r} has no *.safetensors; save the checkpoint in that format")
    linear = {
        name: (one.shape[0], one.shape[1])
        for name, one in found.items()
        if len(one.shape) == 2 and name.endswith(".weight") and not any(word in name for word in NOT_ADAPTED)
    }
    return Size(
        parameters=sum(one.numbers for one in found.values()),
        hidden=int(text.get("hidden_size") or text.get("n_embd") or 0),
        layers=int(text.get("num_hidden_layers") or text.get("n_layer") or 0),
        vocabulary=int(text.get("vocab_size") or 0),
        linear=linear,
    )
