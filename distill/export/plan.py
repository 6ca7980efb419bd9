"""What the trainer's Python is told to export, and what it says of it.

Invariant: the work folder holds all that a killed export left, each part whole or under another name, so
the same plan is taken up where it was. Pure, and standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PART = ".part"
COMPRESSED = ("fp8", "int8")
GGUF_FILE = "model-q8_0.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An export.

    Attributes:
        variant: What to make: merged, fp8, int8 or gguf.
        base: The checkpoint under the adapter.
        base_hash: That it must have, as `distill.training.identity` has it.
        adapter: Folder of the adapter, or None where there is none to merge.
        checkpoint: Folder of the whole checkpoint, where it is there already.
        work: Folder for what is under way.
        converter: llama.cpp's `convert_hf_to_gguf.py`, where it is installed.
    """

    variant: str
    base: str
    base_hash: str
    adapter: str | None
    checkpoint: str | None
    work: str
    converter: str | None = None

    @property
    def file(self) -> Path:
        """Where the plan is written."""
        return Path(self.work) / "plan.json"

    @property
    def told(self) -> Path:
        """Where what came of it is written."""
        return Path(self.work) / "told.json"

    @property
    def merged(self) -> Path:
        """Where the adapter is merged to."""
        return Path(self.work) / "merged"

    @property
    def out(self) -> Path:
        """Where the variant is, when it is whole."""
        return Path(self.work) / "out"

    def write(self) -> None:
        """Write the plan, for the trainer's Python."""
        self.told.unlink(missing_ok=True)
        self.file.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Plan:
        """The plan in a file."""
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of a plan.

    Attributes:
        likeness: How much the variant says what its source says; see `likeness.Likeness`.
        tools: Versions of the libraries that made it.
        error: Why there is no variant, or None.
    """

    likeness: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    def write(self, file: Path) -> None:
        """Write it whole."""
        part = file.with_name(file.name + PART)
        part.write_text(json.dumps(dataclasses.asdict(self)))
        part.replace(file)

    @classmethod
    def read(cls, file: Path) -> Told:
        """What is in a file."""
        return cls(**json.loads(file.read_text()))


def whole(folder: Path, make: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Make a folder under another name, and give it its own when it is whole; once, whoever is killed.

    Args:
        folder: Its name.
        make: Fills a folder, and says what is to be known of it.

    Returns:
        What is to be known of it.
    """
    kept = folder.with_name(f"{folder.name}.json")
    if not (folder.is_dir() and kept.is_file()):
        part = folder.with_name(folder.name + PART)
        for stale in (folder, part):
            shutil.rmtree(stale, ignore_errors=True)
        kept.write_text(json.dumps(make(part)))
        part.replace(folder)
    said: Mapping[str, Any] = json.loads(kept.read_text())
    return said


class Refused(Exception):
    """A variant that cannot be made, or that does not say what its source says; the words say why."""
