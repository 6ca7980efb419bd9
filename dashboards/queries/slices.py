"""What the pages of slices read of the ledger: prompts as examples, and the newest requests of a slice.

Invariant: nothing looks further back than a fixed number of the newest requests, nor reads more text than a
fixed number of bytes; what was not looked at is said. A prompt is read from its body when it is shown, so
that a text that was deleted is shown nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select

from evals.slices.build import newest_slices
from evals.slices.model import OTHER, OTHER_NAME, SliceModel
from evals.slices.view import view_features
from router.prompt import Prompt
from router.wire import read_prompt
from stepdown.errors import BadRequest
from stepdown.ledger import Ledger, schema

LOOKED_AT = 200
MOST_LISTED = 25
LONGEST_BODY = 200_000  # bytes; a longer one is shown on the page of its request alone
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a slice.

    Attributes:
        tag: What the caller sent as its slice.
        chosen: Which model the decision was for; None where nothing was decided. Likewise its `reason`.
        size: Of its body in bytes; None where that is gone.
        prompt: None where the body is long, gone or no chat request.
    """

    id: str
    at: datetime
    status: int
    tag: str | None
    chosen: str | None
    reason: str | None
    body: str
    size: int | None = None
    prompt: Prompt | None = None

    @property
    def text(self) -> str | None:
        """What was asked, without what was said before."""
        return None if self.prompt is None else self.prompt.user or self.prompt.text


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest requests of a slice.

    Attributes:
        looked_at: Requests of the task that were looked at to find them.
        back_to: When the oldest of those came, or None where there is none.
    """

    requests: tuple[Asked, ...]
    looked_at: int
    back_to: datetime | None


def requests_of(ledger: Ledger, ids: Sequence[str]) -> dict[str, Asked]:
    """Requests with their prompts, by id; those that are gone are not in it."""
    found = _asked(ledger, ids)
    texts = _read(ledger, [one.body for one in sorted(found, key=lambda one: ids.index(one.id))])
    return {one.id: texts.added_to(one) for one in found}


def newest_of(ledger: Ledger, task: str, slice_id: str) -> Newest | None:
    """The newest requests that fall into a kept slice; None where it is not kept."""
    slicing = newest_slices(ledger, task)
    belongs = _belongs(slicing.model, slice_id) if slicing else None
    if belongs is None:
        return None
    rows = ledger.rows(_newest(task))
    texts = _read(ledger, [row.body for row in rows])
    readable = [row for row in rows if row.body in texts.prompts]
    inside = belongs(texts.prompts)
    found = _asked(ledger, [row.id for row in readable if row.body in inside][:MOST_LISTED])
    back_to = readable[-1].at if readable else None
    return Newest(tuple(map(texts.added_to, found)), len(readable), back_to)


def _belongs(model: SliceModel, slice_id: str) -> Callable[[Mapping[str, Prompt]], set[str]] | None:
    """Which of some prompts are in a slice, by the digest of their body."""
    numbers = {one.id: number for number, one in enumerate(model.slices)} | {OTHER_NAME: OTHER}
    if slice_id not in numbers:
        return None

    def inside(prompts: Mapping[str, Prompt]) -> set[str]:
        if not prompts:
            return set()
        found = model.assign([view_features(prompt) for prompt in prompts.values()])
        return {body for body, number in zip(prompts, found, strict=True) if number == numbers[slice_id]}

    return inside


def _newest(task: str) -> Select[Any]:
    requests = schema.requests.c
    newest = select(requests.id, requests.at, requests.body).where(requests.task == task)
    return newest.order_by(requests.at.desc(), requests.id.desc()).limit(LOOKED_AT)


def _asked(ledger: Ledger, ids: Sequence[str]) -> list[Asked]:
    """The requests with what was decided, the newest first."""
    if not ids:
        return []
    requests, decisions = schema.requests.c, schema.decisions.c
    query = (
        select(requests.id, requests.at, requests.status, requests.slice.label("tag"), requests.body)
        .add_columns(decisions.chosen, decisions.reason)
        .select_from(schema.requests.outerjoin(schema.decisions, decisions.request == requests.id))
        .where(requests.id.in_(set(ids)))
        .order_by(requests.at.desc(), requests.id.desc())
    )
    return [_one(row) for row in ledger.rows(query)]


def _one(row: Row[Any]) -> Asked:
    return Asked(**row._mapping)


@dataclass(frozen=True, slots=True)
class _Texts:
    """What was read of bodies, by digest; `sizes` knows those too that were too long to be read."""

    sizes: Mapping[str, int]
    prompts: Mapping[str, Prompt]

    def added_to(self, asked: Asked) -> Asked:
        """The request with its prompt."""
        return replace(asked, size=self.sizes.get(asked.body), prompt=self.prompts.get(asked.body))


def _read(ledger: Ledger, bodies: Sequence[str]) -> _Texts:
    """The prompts of those bodies that are there and not long; the first ones first, within a bound."""
    sizes = _sizes(ledger, bodies)
    wanted = _within_bound(dict.fromkeys(bodies), sizes)
    contents, prompts = ledger.bodies(wanted), {}
    for body in wanted:
        try:
            prompts[body] = read_prompt(contents[body])
        except (KeyError, BadRequest):
            continue  # gone meanwhile, or no chat request: shown as a text that is not there
    return _Texts(sizes, prompts)


def _within_bound(bodies: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    wanted, left = [], MOST_BYTES
    for body in bodies:
        size = sizes.get(body, LONGEST_BODY + 1)
        if size <= min(LONGEST_BODY, left):
            wanted.append(body)
            left -= size
    return wanted


def _sizes(ledger: Ledger, bodies: Sequence[str]) -> dict[str, int]:
    table = schema.bodies.c
    if not bodies:
        return {}
    rows = ledger.rows(select(table.digest, table.size).where(table.digest.in_(set(bodies))))
    return {row.digest: row.size for row in rows}
