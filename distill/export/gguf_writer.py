"""Writes Qwen2 and Llama checkpoints as GGUF, with the tensor names and keys of the package `gguf`.

Invariant: what llama.cpp would read differently than it was trained (another family, a rope that is scaled,
a tokenizer whose way of splitting words is not known) is refused by name. Runs in the trainer's Python. The
layout is that of llama.cpp's own `convert_hf_to_gguf.py`.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from distill.export.plan import PART, Refused

FAMILIES = {"Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}
BLOCK = 32
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = {QWEN2_WORDS: "qwen2", QWEN2_WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|", 1): "llama-bpe"}
REMEDY = "put llama.cpp's convert_hf_to_gguf.py on the PATH, or leave gguf out of `variants`"
_open = re.compile(r"\{%(-?)\s*generation\s*(-?)%\}")
_close = re.compile(r"\{%(-?)\s*endgeneration\s*(-?)%\}")


class Shape(NamedTuple):
    """Of a model: what GGUF needs to know of its config."""

    family: str
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    context: int
    epsilon: float
    rope_base: float
    vocabulary: int


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape that a `config.json` tells.

    Raises:
        Refused: It is of a family, or has a feature, that cannot be written here.
    """
    family = FAMILIES.get((config.get("architectures") or ["none"])[0])
    if family is None:
        known = ", ".join(FAMILIES)
        raise Refused(
            f"a model of architecture {config.get('architectures')!r} cannot be written as GGUF here; "
            f"known: {known}; {REMEDY}"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default" or config.get("use_sliding_window"):
        odd = f"rope {kind!r}" if kind != "default" else "a sliding window"
        raise Refused(f"a {family} model with {odd} cannot be written as GGUF here; {REMEDY}")
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    return Shape(
        family,
        config["num_hidden_layers"],
        hidden,
        config["intermediate_size"],
        heads,
        config.get("num_key_value_heads") or heads,
        config.get("head_dim") or hidden // heads,
        config["max_position_embeddings"],
        config["rms_norm_eps"],
        rope.get("rope_theta", config.get("rope_theta", 10_000.0)),
        config["vocab_size"],
    )


def words_of(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how a `tokenizer.json` splits words.

    Raises:
        Refused: It has none that is known here.
    """
    before = tokenizer.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers") or [before]
    if tokenizer["model"]["type"] == "BPE" and parts[-1].get("type") == "ByteLevel":
        if len(parts) == 1 and parts[0].get("use_regex", True) and not parts[0].get("add_prefix_space"):
            return "gpt-2"
        pattern = (parts[0].get("pattern") or {}).get("Regex")
        if len(parts) == 2 and pattern in WORDS:
            return WORDS[pattern]
    raise Refused(f"the tokenizer splits words in a way that is not known here; {REMEDY}")


def without_marks(template: str) -> str:
    """A chat template without the marks of training, which not every server knows; it renders the same."""
    return _close.sub(r"{%\1 endif \2%}", _open.sub(r"{%\1 if true \2%}", template))


def write_gguf(source: Path, file: Path, tokenizer: Any) -> None:
    """Write a checkpoint as one file.

    Raises:
        Refused: It cannot be written here.
    """
    try:
        import gguf
    except ImportError as error:
        raise Refused(
            f"GGUF is written by the package gguf, which the trainer's Python does not have ({error}); "
            f"install it: {sys.executable} -m pip install gguf"
        ) from error
    shape = shape_of(json.loads((source / "config.json").read_text()))
    words = json.loads((source / "tokenizer.json").read_text())
    part = file.with_name(file.name + PART)
    writer = gguf.GGUFWriter(part, shape.family)
    _add_shape(writer, shape, gguf)
    _add_tokenizer(writer, shape, words, tokenizer, gguf)
    _add_tensors(writer, shape, source, gguf)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(file)


def _add_shape(writer: Any, shape: Shape, gguf: Any) -> None:
    writer.add_name("student")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: Any, shape: Shape, words: dict[str, Any], tokenizer: Any, gguf: Any) -> None:
    kinds = gguf.TokenType
    tokens = [f"[PAD{place}]" for place in range(shape.vocabulary)]
    types = [kinds.UNUSED] * shape.vocabulary
    for token, place in words["model"]["vocab"].items():
        tokens[place], types[place] = token, kinds.NORMAL
    for added in words["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = kinds.CONTROL if added["special"] else kinds.USER_DEFINED
    merges = words["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words_of(words))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    for name in ("bos", "eos", "pad"):
        if (place := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(place)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    writer.add_chat_template(without_marks(tokenizer.chat_template))


def _add_tensors(writer: Any, shape: Shape, source: Path, gguf: Any) -> None:
    safe_open = importlib.import_module("safetensors").safe_open
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, shape.family.upper()), shape.layers)
    for file in sorted(source.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in sorted(weights.keys()):
                ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if ours is None:
                    raise Refused(f"weight {name!r} has no place in a GGUF file of {shape.family}; {REMEDY}")
                _add_tensor(writer, ours, _laid_out(name, weights.get_tensor(name).float(), shape), gguf)


def _laid_out(name: str, tensor: Any, shape: Shape) -> Any:
    """A tensor in llama.cpp's order: in Llama's, the two halves of each rotated pair lie side by side."""
    heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(name.split(".")[-2])
    if shape.family == "llama" and heads is not None:
        halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
        tensor = halves.transpose(1, 2).reshape(tensor.shape)
    return tensor.contiguous().numpy()


def _add_tensor(writer: Any, name: str, tensor: Any, gguf: Any) -> None:
    kinds = gguf.GGMLQuantizationType
    if tensor.ndim == 1:
        writer.add_tensor(name, tensor, raw_dtype=kinds.F32)
    elif tensor.shape[-1] % BLOCK:
        writer.add_tensor(name, tensor.astype("float16"), raw_dtype=kinds.F16)
    else:
        writer.add_tensor(name, gguf.quants.quantize(tensor, kinds.Q8_0), raw_dtype=kinds.Q8_0)
