"""Whether a server can take a student at all, so that what it cannot take is never sent.

Invariant: what is said to be unfit names the reason and the remedy; what cannot be known here is left for the
server to say. Reads the student's files and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.serving.plan import Card
from distill.training.adapter import check_adapter
from distill.training.identity import CONFIG, checkpoint_hash
from stepdown.errors import ServingError
from stepdown.settings import Settings
from stepdown.students import Manifest, Store


def unfit(
    manifest: Manifest, store: Store, has: Sequence[Card], max_rank: int | None, bases: Sequence[str] = ()
) -> str | None:
    """Why a server should not be sent an adapter, or None.

    Args:
        manifest: Of the student.
        store: Where its files are.
        has: What the server lists.
        max_rank: Highest rank that the server takes, where it says.
        bases: The checkpoints that its servers are said to have.
    """
    if (complaint := store.complaint(manifest)) is not None:
        return f"its files are not as they were made: {complaint}; export it again"
    try:
        check_adapter(store.path(manifest), manifest, _base_of(has))
    except ServingError as error:
        return str(error)
    if (why := _not_of_base(manifest, bases)) is not None:
        return why
    if max_rank is not None and manifest.rank > max_rank:
        remedy = f"start vLLM with --max-lora-rank {manifest.rank}"
        return f"its rank is {manifest.rank}, and the server takes {max_rank}: {remedy}"
    return None


def bases_of(settings: Settings, alias: str) -> list[str]:
    """The checkpoints that a model serves, by the tasks that make students of it."""
    tasks = settings.tasks.values()
    return [task.student.base for task in tasks if task.small == alias and task.student is not None]


def _not_of_base(manifest: Manifest, bases: Sequence[str]) -> str | None:
    """Why an adapter is of none of the checkpoints that its servers are said to have, or None.

    A folder that cannot be seen from here may be any: then the server has to tell.
    """
    if not bases or any(_may_be(manifest, base) for base in bases):
        return None
    return (
        f"it was trained from {manifest.base!r}, and the settings have {bases[0]!r} as `student.base`; "
        f"`stepdown rollback` takes it out, or serve it under {manifest.base!r}"
    )


def _may_be(manifest: Manifest, base: str) -> bool:
    if base != manifest.base and (Path(base) / CONFIG).is_file():
        try:
            return checkpoint_hash(Path(base)) == manifest.base_hash
        except OSError:
            return True  # a file of it is not for us to read: the server has to tell
    return base == manifest.base or any(Path(name).is_absolute() for name in (base, manifest.base))


def _base_of(has: Sequence[Card]) -> Path | None:
    """The folder of the server's base model, where it can be seen from here."""
    folders = [Path(card.root) for card in has if card.parent is None]
    return next((folder for folder in folders if (folder / CONFIG).is_file()), None)
