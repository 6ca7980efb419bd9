"""Students: the names under which they are served, and the manifest that an artifact of kind `student` is.

Invariant: every version of a student has a name of its own, made from its artifact's id, so a server that
has a name has these weights and no others. Weights are files in the folder of students and never in the
ledger; the manifest has their hashes. Pure but for `Store`, which knows where the files are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from stepdown.errors import ArtifactError
from stepdown.records import Artifact
from stepdown.settings import Settings

STUDENT = "student"
PREFIX = "stepdown-student-"
DIGITS = 24
BLOCK = 1 << 20

Variant = Literal["adapter", "merged", "int8", "fp8", "gguf"]

_name = re.compile(re.escape(PREFIX) + f"[0-9a-f]{{{DIGITS}}}")


def served_name(student: str) -> str:
    """The model name under which the student with this artifact id is served."""
    return PREFIX + student[:DIGITS]


def is_served_name(model: str) -> bool:
    """Whether a model name is that of a student."""
    return _name.fullmatch(model) is not None


def with_student(settings: Settings, small: str, student: str) -> Settings:
    """The settings with a student as one more model, whose alias is its served name.

    Args:
        settings: All settings.
        small: Alias of the model whose servers have the student.
        student: Its artifact id.
    """
    name = served_name(student)
    served = msgspec.structs.replace(settings.models[small], model=name)
    return msgspec.structs.replace(settings, models={**settings.models, name: served})


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a student is; the content of its artifact.

    Attributes:
        base: The checkpoint that it was trained from, as the settings name it.
        base_hash: Of that checkpoint's configuration and weights, which an adapter must find under it.
        variant: The form in which it is served.
        method: `lora` or `full`.
        rank: Of the adapter; 0 where there is none.
        folder: Below the folder of students.
        files: SHA-256 of each file by its path within the folder.
        run: The training that made it.
    """

    base: str
    base_hash: str
    variant: Variant
    method: Literal["lora", "full"]
    rank: int
    folder: str
    files: Mapping[str, str]
    run: str

    def to_bytes(self) -> bytes:
        """The content of the artifact."""
        return msgspec.json.encode(self, order="sorted")


def manifest_of(artifact: Artifact) -> Manifest:
    """The manifest that an artifact is.

    Raises:
        ArtifactError: It is none.
    """
    try:
        if artifact.kind == STUDENT:
            return msgspec.json.decode(artifact.content, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"student {artifact.id!r} is corrupt: {error}") from error
    raise ArtifactError(f"artifact {artifact.id!r} is a {artifact.kind}, not a student")


class Store:
    """The folder of students, which trainer and servers share.

    Args:
        root: The folder; servers may have it mounted elsewhere.
        mounted: Where the servers of small models see it; None is the same path.
    """

    def __init__(self, root: Path, mounted: Path | None = None) -> None:
        self.root = root
        self._mounted = mounted or root

    def path(self, manifest: Manifest) -> Path:
        """Where a student's files are, seen from here."""
        return self.root / manifest.folder

    def served_path(self, manifest: Manifest) -> Path:
        """Where a student's files are, seen from a server."""
        return self._mounted / manifest.folder

    def complaint(self, manifest: Manifest) -> str | None:
        """What is wrong with a student's files, or None where each has its hash."""
        for name, wanted in manifest.files.items():
            file = self.path(manifest) / name
            if not file.is_file():
                return f"file {str(file)!r} is missing"
            if file_hash(file) != wanted:
                return f"file {str(file)!r} has another hash than when it was made"
        return None


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path within it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
