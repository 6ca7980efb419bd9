"""Which requests somebody wants to see: read from a page's query, and told to the database.

Invariant: what cannot be read is refused by name, never ignored. `cheap` are those conditions that a row of
`requests` and its decision answer; cost, verdict and text need calls, labels and bodies, and are looked at by
`dashboards.queries.requests`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement

from stepdown.errors import BadRequest
from stepdown.ledger import schema
from stepdown.ledger.schema import EPOCH, MICROSECOND
from stepdown.prices import MICROS_PER_USD
from stepdown.records import HUNG_UP, Mode, Reason, Tier

LONGEST_TEXT = 500


class Outcome(enum.StrEnum):
    """What became of a request, by the status that the client received."""

    ANSWERED = "answered"
    REFUSED = "refused"
    HUNG_UP = "hung_up"
    FAILED = "failed"

    def had_by(self, status: ColumnElement[int]) -> ColumnElement[bool]:
        """The condition that a column of statuses is of this outcome."""
        match self:
            case Outcome.ANSWERED:
                return status < 400
            case Outcome.REFUSED:
                return status.between(400, 499) & (status != HUNG_UP)
            case Outcome.HUNG_UP:
                return status == HUNG_UP
            case Outcome.FAILED:
                return status >= 500


class Held(enum.StrEnum):
    """What is held of the answer that was given."""

    GOOD = "good"
    BAD = "bad"
    UNSCORED = "unscored"
    UNLABELLED = "unlabelled"


class Place(NamedTuple):
    """A place in a task's requests, which are ordered by time and id."""

    at: datetime
    id: str

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // MICROSECOND}.{self.id}"


def place_in(text: str) -> Place:
    """A place as it stands in a link.

    Raises:
        BadRequest: It is none.
    """
    micros, _, name = text.partition(".")
    try:
        return Place(EPOCH + int(micros) * MICROSECOND, name)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{text!r:.100} is no place among the requests; follow a link", param="older"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which requests; what is empty or None is not asked about.

    Attributes:
        given: The fields as they were given, those that say something: for links.
        id: Of a request, or of one of its calls.
        model: Asked for by the client.
        tier: That was chosen to answer.
        student: Artifact id of the student that was the small model, or its beginning.
        cost_usd_micros: At least so much was spent on the request.
        held: Of the answer that was given.
        since: Came then or later; `until`: came before.
        text: Stands in the prompt or in the answer that was given, in capitals or small letters.
    """

    given: Mapping[str, str]
    id: str = ""
    model: str = ""
    tier: Tier | None = None
    reason: Reason | None = None
    mode: Mode | None = None
    slice: str = ""
    outcome: Outcome | None = None
    cost_usd_micros: int | None = None
    held: Held | None = None
    student: str = ""
    explored: bool | None = None
    conversation: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    @property
    def needs_calls(self) -> bool:
        """Whether calls, labels or bodies must be looked at."""
        return self.cost_usd_micros is not None or self.held is not None or bool(self.text)

    @property
    def needs_labels(self) -> bool:
        """Whether labels must be looked at, for what they say or what they cost."""
        return self.cost_usd_micros is not None or self.held is not None

    def cheap(self, decided: Mapping[str, ColumnElement[Any]]) -> list[ColumnElement[bool]]:
        """The conditions on `requests` and `decisions`, but for time and id.

        Args:
            decided: The columns of `decisions`, as the query has them.
        """
        r = schema.requests.c
        plain: tuple[tuple[ColumnElement[Any], str | None], ...] = (
            (r.model_asked, self.model),
            (r.slice, self.slice),
            (r.conversation, self.conversation),
            (decided["chosen"], self.tier),
            (decided["reason"], self.reason),
            (decided["mode"], self.mode),
        )
        found: list[ColumnElement[bool]] = [column == value for column, value in plain if value]
        if self.student:
            found.append(decided["student"].startswith(self.student, autoescape=True))
        if self.explored is not None:
            found.append(decided["explored"].is_(self.explored))
        if self.outcome is not None:
            found.append(self.outcome.had_by(r.status))
        return found


def filters_of(query: Mapping[str, str]) -> Filters:
    """The filters in a page's query.

    Raises:
        BadRequest: A field cannot be read; names it.
    """
    given = {name: value.strip() for name, value in query.items() if name in FIELDS and value.strip()}
    read = {FIELDS[name].name: FIELDS[name].read(name, value) for name, value in given.items()}
    return Filters(given=given, **read)


class _Field(NamedTuple):
    name: str
    read: Callable[[str, str], Any]


def _text(name: str, value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise BadRequest(f"{name} has {len(value):,} characters; give {LONGEST_TEXT} at most", param=name)
    return value


def _word(words: type[enum.StrEnum]) -> Callable[[str, str], enum.StrEnum]:
    def read(name: str, value: str) -> enum.StrEnum:
        try:
            return words(value)
        except ValueError:
            known = ", ".join(word.value for word in words)
            raise BadRequest(f"{name} = {value!r:.40} is none; there are {known}", param=name) from None

    return read


def _yes(name: str, value: str) -> bool:
    if value not in ("yes", "no"):
        raise BadRequest(f"{name} = {value!r:.40} is neither yes nor no", param=name)
    return value == "yes"


def _micros(name: str, value: str) -> int:
    try:
        dollars = float(value)
    except ValueError:
        dollars = math.nan
    if not 0 <= dollars < 1e9:
        raise BadRequest(f"{name} = {value!r:.40} is no amount of dollars", param=name)
    return math.ceil(dollars * MICROS_PER_USD - 1e-6)


def _time(name: str, value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{name} = {value!r:.40} is no time; write 2026-11-22T09:50, in UTC", param=name
        ) from None


FIELDS = {
    "id": _Field("id", _text),
    "model": _Field("model", _text),
    "tier": _Field("tier", _word(Tier)),
    "reason": _Field("reason", _word(Reason)),
    "mode": _Field("mode", _word(Mode)),
    "slice": _Field("slice", _text),
    "status": _Field("outcome", _word(Outcome)),
    "cost": _Field("cost_usd_micros", _micros),
    "verdict": _Field("held", _word(Held)),
    "student": _Field("student", _text),
    "explored": _Field("explored", _yes),
    "conversation": _Field("conversation", _text),
    "since": _Field("since", _time),
    "until": _Field("until", _time),
    "text": _Field("text", _text),
}
