"""Checkpoints of a run: which are whole, and the removal of those that are not.

Invariant: a checkpoint counts only when it has its seal, written last, and every file has the size that the
seal says; one that was torn by a kill or a full disk is passed over for the one before. Standard library
only, since the trainer's Python uses it too.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

SEAL = "whole.json"
PREFIX = "checkpoint-"


def seal(checkpoint: Path) -> None:
    """Say that a checkpoint is whole, once its files are on the disk."""
    sizes = {}
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        sizes[file.relative_to(checkpoint).as_posix()] = file.stat().st_size
    write_whole(checkpoint / SEAL, json.dumps(sizes).encode())


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be resumed from."""
    try:
        sizes = json.loads((checkpoint / SEAL).read_bytes())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made; -1 where the name says none."""
    number = checkpoint.name.removeprefix(PREFIX)
    return int(number) if number.isdigit() else -1


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint in a folder, or None."""
    found = [path for path in folder.glob(f"{PREFIX}*") if step_of(path) >= 0 and is_whole(path)]
    return max(found, key=step_of, default=None)


def remove_torn(folder: Path) -> None:
    """Remove the checkpoints in a folder that are not whole, which only take room."""
    for path in folder.glob(f"{PREFIX}*"):
        if not is_whole(path):
            shutil.rmtree(path, ignore_errors=True)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is either there and whole, or not there."""
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
