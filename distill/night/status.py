"""How far the newest night is, what came of it, and when the next one begins.

Invariant: it only reads. What it says of the next night is what the schedule will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from distill.night.account import NightAccount, account_of
from distill.night.book import Book
from distill.night.schedule import due, next_moment
from stepdown.errors import SettingsError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.settings import Settings


@dataclass(frozen=True, slots=True)
class NightStatus:
    """A task's nights, as of now.

    Attributes:
        night: The one that is under way, or the newest; None where there was none.
        next_at: When the next one begins, in the time zone of the settings.
        is_due: Whether one is to begin at the next look.
    """

    task: str
    night: NightAccount | None
    next_at: datetime
    is_due: bool
    timezone: str


def status(ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None) -> NightStatus:
    """How far a task's nights are.

    Raises:
        SettingsError: The task has no students to be made.
        LedgerError: The ledger cannot be read.
    """
    declared = settings.tasks.get(task)
    if declared is None or declared.student is None:
        raise SettingsError(
            f"task {task!r} distils no students; declare [tasks.{task}.student] with its base"
        )
    book, present = Book(ledger, task), at or now()
    nights = book.nights()
    shown = book.unfinished() or (nights[-1] if nights else None)
    moment = due(present, settings.night, nights, book.first_request())
    next_at = (moment or next_moment(present, settings.night, nights)).at
    return NightStatus(
        task=task,
        night=account_of(shown, book.events(shown.id)) if shown else None,
        next_at=next_at.astimezone(ZoneInfo(settings.night.timezone)),
        is_due=moment is not None,
        timezone=settings.night.timezone,
    )
