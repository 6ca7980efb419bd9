"""Makes a tiny chat model on the spot: a checkpoint that trainers and servers take like any other.

Invariant: the same texts make the same files, byte for byte. Run as a script by a Python that has the extra
`distill`: `python tests/tiny_model.py FOLDER TEXTS.json`, where TEXTS.json is a list of strings. Its answers
mean nothing until it is trained, and its vocabulary is that of the texts, byte by byte where they have no
word for something. Knows nothing of what it will be trained on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

VOCABULARY = 512
HIDDEN, LAYERS, HEADS = 128, 2, 4  # heads of 32, the smallest that vLLM's kernels take
LONGEST = 2048
HEAD_SCALE = 6.0
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
MARKED_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def make_tiny_model(folder: Path, texts: list[str], *, template: str | None = CHATML, seed: int = 0) -> None:
    """Make the checkpoint in a folder; needs torch and transformers in this process.

    Args:
        folder: Where to; it is made.
        texts: What its tokenizer is trained on.
        template: Its chat template; None makes a model without one.
        seed: Of its weights.
    """
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(texts, template)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LONGEST,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():  # an adapter leaves the head as it is, which must be able to be sure of a word
        model.lm_head.weight.mul_(HEAD_SCALE)
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: list[str], template: str | None):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*texts, "system\nuser\nassistant\n"], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=PAD, model_max_length=LONGEST
    )
    if template is not None:
        wrapped.chat_template = template
    return wrapped


def tiny_model_in(folder: Path, texts: list[str], python: str, *, template: str = "plain") -> Path:
    """Have another Python make a tiny model; returns its folder.

    Args:
        folder: Where to; its parent must be there.
        texts: What its tokenizer is trained on.
        python: An interpreter that has the extra `distill`.
        template: `plain` ChatML, `marked` with generation tags, or `none`.
    """
    listed = folder.with_name(f"{folder.name}.texts.json")
    listed.write_text(json.dumps(texts))
    script = str(Path(__file__).absolute())
    subprocess.run([python, script, str(folder), str(listed), template], check=True, capture_output=True)
    return folder


def main(folder: str, texts: str, template: str = "plain") -> None:
    """The script."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    chosen = {"plain": CHATML, "marked": MARKED_CHATML, "none": None}[template]
    make_tiny_model(Path(folder), json.loads(Path(texts).read_text()), template=chosen)


if __name__ == "__main__":
    main(*sys.argv[1:])
