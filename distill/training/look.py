"""Looks at a machine and a checkpoint before a training: `look BASE TEACHER OUT` writes JSON to OUT.

Invariant: nothing is trained and no weight is loaded. A base that is no folder is fetched from the hub,
once; a folder is read where it is. Runs in the trainer's Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from distill.training.chat import Chat, Refused
from distill.training.files import Exit

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


def main(base: str, teacher: str, out: str) -> None:
    """The script; no teacher is an empty one."""
    try:
        found = look(base, teacher or None)
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr, flush=True)
        sys.exit(Exit.REFUSED)
    Path(out).write_text(json.dumps(found))


def look(base: str, teacher: str | None) -> dict[str, Any]:
    """What is there.

    Raises:
        Refused: The base cannot be trained, or not with this teacher.
    """
    folder, taught = fetched(base), fetched(teacher) if teacher else None
    os.environ["HF_HUB_OFFLINE"] = (
        "1"  # all is here, and the libraries read this once, when they are imported
    )
    tokenizer = _tokenizer(folder)
    Chat(tokenizer)
    if taught:
        from distill.training.gkd import refuse_other_vocabulary

        refuse_other_vocabulary(tokenizer, _tokenizer(taught))
        _refuse_other_width(folder, taught)
    words = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.get_chat_template()])
    return {
        "base": folder,
        "teacher": taught,
        "tokenizer_hash": hashlib.sha256(words.encode()).hexdigest(),
        **_device(),
    }


def fetched(checkpoint: str) -> str:
    """The folder of a checkpoint.

    Raises:
        Refused: It is neither a folder nor to be had from the hub.
    """
    if Path(checkpoint).is_dir():
        return str(Path(checkpoint).absolute())
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(checkpoint, allow_patterns=WANTED))
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Refused(f"checkpoint {checkpoint!r} is no folder, and cannot be fetched: {said}") from error


def _refuse_other_width(student: str, teacher: str) -> None:
    ours, theirs = (
        json.loads((Path(f) / "config.json").read_bytes())["vocab_size"] for f in (student, teacher)
    )
    if ours != theirs:
        raise Refused(
            f"the student's vocabulary is padded to {ours} and the teacher's to {theirs}; take a teacher "
            'whose config.json has the same vocab_size, or objective = "sft"'
        )


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise Refused(f"the tokenizer of checkpoint {folder!r} cannot be read: {said}") from error


def _device() -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        count = torch.cuda.device_count()
        name = torch.cuda.get_device_name()
        return {"device": "cuda", "name": name, "count": count, "free_bytes": free, "total_bytes": total}
    page, available = os.sysconf("SC_PAGE_SIZE"), _available_bytes()
    return {
        "device": "cpu",
        "name": f"{os.cpu_count()} cores",
        "count": os.cpu_count(),
        "free_bytes": os.sysconf("SC_AVPHYS_PAGES") * page if available is None else available,
        "total_bytes": os.sysconf("SC_PHYS_PAGES") * page,
    }


def _available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """The memory that a process can have, caches that would make room included; None where not Linux."""
    if not meminfo.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
