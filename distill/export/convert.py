"""Turns a checkpoint into one GGUF file for llama.cpp, weights rounded to eight bits (Q8_0).

Invariant: the file, read back, says what the checkpoint says. llama.cpp's own converter is used where it is
installed; else `gguf_writer`, which knows two families of models and refuses the others. Runs in the
trainer's Python.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.export.likeness import likeness, logits_of, prompt_ids, read_model
from distill.export.merge import tokenizer_of
from distill.export.plan import GGUF_FILE, Refused

TOLERANCE = 0.1  # eight bits in blocks of 32 are nearly exact: what is further off was written wrongly


def convert(source: Path, folder: Path, converter: str | None) -> Mapping[str, Any]:
    """Write a checkpoint as GGUF into a folder.

    Returns:
        How much it says what the checkpoint says.

    Raises:
        Refused: The model is of a family that cannot be written here, or the file says something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(source)
    if converter is not None:
        _by_llama_cpp(source, folder / GGUF_FILE, converter)
    else:
        from distill.export.gguf_writer import write_gguf

        write_gguf(source, folder / GGUF_FILE, tokenizer)
    prompts = prompt_ids(tokenizer)
    written = logits_of(read_model(folder, gguf_file=GGUF_FILE), prompts)
    found = likeness(written, logits_of(read_model(source), prompts))
    if not found.within(TOLERANCE):
        raise Refused(
            f"the GGUF file does not say what its checkpoint says: its logits are {found.error:.3g} away, "
            f"{TOLERANCE:g} is the most"
        )
    return found.to_json("merged", TOLERANCE)


def _by_llama_cpp(source: Path, file: Path, converter: str) -> None:
    argv = [sys.executable, converter, str(source), "--outfile", str(file), "--outtype", "q8_0"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode or not file.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(f"{converter} did not convert the checkpoint: {last[0]}")
