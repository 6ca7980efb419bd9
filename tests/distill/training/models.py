"""Checkpoints and adapters without weights that mean anything, for what only reads their headers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

HIDDEN, INNER, LAYERS, WORDS = 8, 16, 2, 40


def write_tensors(file: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """A safetensors file of zeros in half precision."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(offset))


def a_base(folder: Path, *, hidden: int = HIDDEN, **config: object) -> Path:
    """A checkpoint with an attention and a feed-forward layer in each block."""
    folder.mkdir(parents=True)
    named = {"hidden_size": hidden, "num_hidden_layers": LAYERS, "vocab_size": WORDS, **config}
    (folder / "config.json").write_text(json.dumps(named))
    shapes = {"model.embed_tokens.weight": (WORDS, hidden), "lm_head.weight": (WORDS, hidden)}
    for layer in range(LAYERS):
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = (hidden, hidden)
        shapes[f"model.layers.{layer}.mlp.up_proj.weight"] = (INNER, hidden)
    norms: dict[str, Sequence[int]] = {f"model.layers.{n}.norm.weight": (hidden,) for n in range(LAYERS)}
    write_tensors(folder / "model.safetensors", {**shapes, **norms})
    return folder


def an_adapter(folder: Path, *, rank: int = 4, hidden: int = HIDDEN, base: str = "tiny") -> Path:
    """An adapter of `q_proj` in the first block."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": base, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{layer}.lora_A.weight": (rank, hidden), f"{layer}.lora_B.weight": (hidden, rank)}
    write_tensors(folder / "adapter_model.safetensors", shapes)
    return folder
