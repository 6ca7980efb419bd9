"""Hands the GPU over from the small models' servers to a training, and back.

Invariant: before a server is put to sleep the ledger says so, and it says that it was woken only when it was:
whatever is killed in between, the next look knows whom to wake.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from distill.night.book import Book
from distill.night.machine import ASLEEP, AWAKE, asleep, numbered, times
from distill.night.parts import Parts
from distill.night.tonight import Tonight
from stepdown.errors import ServingError, SettingsError
from stepdown.records import Night
from stepdown.settings import Settings

log = logging.getLogger(__name__)


@contextmanager
def handed_over(tonight: Tonight, *, needed: bool = True) -> Iterator[None]:
    """Have the models that sleep do so for the length of a block.

    Raises:
        ServingError: One could not be put to sleep; those that were are woken.
    """
    aliases = sleepers(tonight.settings) if needed else []
    if not aliases:
        yield
        return
    book, night = tonight.book, tonight.night
    number = times(book.events(night.id), tonight.stage, ASLEEP) + 1
    book.note(night.id, tonight.stage, numbered(ASLEEP, number), found={"aliases": aliases})
    try:
        for alias in aliases:
            tonight.parts.put_to_sleep(alias)
        yield
    finally:
        wake_all(book, night, tonight.settings, tonight.parts)


def sleepers(settings: Settings) -> list[str]:
    """The models that give up the GPU for a training, whichever task's it is."""
    return [alias for alias, model in settings.models.items() if model.sleeps]


def wake_all(
    book: Book, night: Night, settings: Settings, parts: Parts, *, but: Iterable[str] = ()
) -> list[str]:
    """Wake what a night has put to sleep and not woken.

    Args:
        book: Where that is written.
        night: Which.
        settings: All settings; a model that they no longer have is passed over.
        parts: Who wakes.
        but: Stages that are about to be taken up, and would put it to sleep again.

    Returns:
        The aliases of those that were woken.
    """
    woken: list[str] = []
    events = book.events(night.id)
    for stage in asleep(events):
        if stage in but:
            continue
        number = times(events, stage, ASLEEP)
        (owed,) = (e for e in events if e.stage == stage and e.event == numbered(ASLEEP, number))
        aliases = [alias for alias in owed.found.get("aliases", ()) if alias in settings.models]
        if _woken(aliases, parts):
            book.note(night.id, stage, numbered(AWAKE, number))
            woken += aliases
    return woken


def _woken(aliases: Iterable[str], parts: Parts) -> bool:
    """Wake each; False where one did not wake, which the next look tries again."""
    all_awake = True
    for alias in aliases:
        try:
            parts.wake(alias)
        except (ServingError, SettingsError) as error:
            log.error("model %s could not be woken: %s; the next look tries again", alias, error)
            all_awake = False
    return all_awake
