"""Whether a server can take a student at all, so that what it cannot take is never sent.

Invariant: what is said to be unfit names the reason and the remedy; what cannot be known here is left for the
server to say. Reads the student's files and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from distill.serving.plan import Card
from stepdown.students import Manifest, Store, file_hash

ADAPTER, CONFIG = "adapter_config.json", "config.json"


class _Config(msgspec.Struct):
    r: int = 0
    peft_type: str = "LORA"


def unfit(manifest: Manifest, store: Store, has: Sequence[Card], max_rank: int | None) -> str | None:
    """Why a server should not be sent an adapter, or None.

    Args:
        manifest: Of the student.
        store: Where its files are.
        has: What the server lists.
        max_rank: Highest rank that the server takes, where it says.
    """
    if (complaint := store.complaint(manifest)) is not None:
        return f"its files are not as they were made: {complaint}; export it again"
    folder = store.path(manifest)
    try:
        config = msgspec.json.decode((folder / ADAPTER).read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError) as error:
        return f"its {ADAPTER} in {str(folder)!r} cannot be read: {error}"
    return _wrong_rank(config, manifest, max_rank) or _wrong_base(manifest, has)


def _wrong_rank(config: _Config, manifest: Manifest, max_rank: int | None) -> str | None:
    if config.peft_type != "LORA":
        return f"it is of kind {config.peft_type!r}, and vLLM takes LORA"
    if manifest.rank and config.r != manifest.rank:
        return f"its files have rank {config.r}, and its manifest says {manifest.rank}"
    if max_rank is not None and config.r > max_rank:
        remedy = f"start vLLM with --max-lora-rank {config.r}"
        return f"its rank is {config.r}, and the server takes {max_rank}: {remedy}"
    return None


def _wrong_base(manifest: Manifest, has: Sequence[Card]) -> str | None:
    """Whether the server has another base, as far as its folder can be seen from here."""
    for card in has:
        config = Path(card.root) / CONFIG
        if card.parent is None and config.is_file() and file_hash(config) != manifest.base_hash:
            return (
                f"it was trained from {manifest.base!r}, and the server's base is {card.root!r}, another one"
            )
    return None
