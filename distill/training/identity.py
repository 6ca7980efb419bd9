"""Which checkpoint a folder holds: one name for its configuration and its weights.

Invariant: the same files have the same name, whatever their folder is; another configuration, or weights
that were trained further, have another one. Of large weights samples are read, never all of them, so that
the name of a checkpoint of any size takes a fraction of a second. Standard library only, since the trainer's
Python uses it too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

CONFIG = "config.json"
SAMPLES = 16  # of a file of weights, from its first bytes to its last
SAMPLE_BYTES = 128 << 10


def checkpoint_hash(folder: Path) -> str:
    """SHA-256, in hex, of a checkpoint's `config.json` and of its weights' names, sizes and samples.

    Two fine-tunings of one model have the same configuration, and their embeddings may be the same: so the
    samples are spread over all of each file, where a training that changes every layer shows.

    Raises:
        OSError: It has no `config.json`, or a file cannot be read.
    """
    made_of = hashlib.sha256(hashlib.sha256((folder / CONFIG).read_bytes()).digest())
    for file in sorted(folder.glob("*.safetensors")):
        made_of.update(f"{file.name}\n{file.stat().st_size}\n{_sampled(file)}\n".encode())
    return made_of.hexdigest()


def _sampled(file: Path) -> str:
    """A hash of a file's samples; of a small file they are all of it."""
    digest = hashlib.sha256()
    last = max(0, file.stat().st_size - SAMPLE_BYTES)  # where the last sample begins
    with file.open("rb") as opened:
        for number in range(SAMPLES):
            opened.seek(last * number // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()
