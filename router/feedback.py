"""`POST /v1/feedback`: what users of the application say of an answer.

Invariant: what is acknowledged is in the ledger; the same words sent twice are kept once, while a mind that
was changed, even back, is a record of its own, and the newest of a kind counts. A caller who asks for
somebody else's request learns no more than one who asks for a request that never was.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import select

from router.access import Access, Caller
from router.asgi import Receive, Scope, Send
from router.documents import answer, decode, read_json
from stepdown.errors import BadRequest
from stepdown.ids import digest, now
from stepdown.ledger import GroupCommit, Ledger, schema
from stepdown.records import Feedback

MAX_ID = 64
TICK = timedelta(microseconds=1)
REMEDIES = {
    "request_id": "the x-stepdown-request-id header of the answer",
    "id": "another name for request_id",
    "thumb": '"up" or "down", or true or false',
    "score": "a number from 0 to 1",
    "comment": "text that is not empty",
    "outcome": "text that is not empty, a number, true or false",
    "edit": "the text that was used in the end",
}
KINDS = ("thumb", "score", "comment", "outcome", "edit")


class NoSuchRequest(BadRequest):
    """The caller has no such request."""

    status = 404


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/feedback`."""

    request_id: str | None = None
    id: str | None = None
    thumb: Literal["up", "down"] | bool | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    comment: Annotated[str, Meta(min_length=1)] | None = None
    outcome: Annotated[str, Meta(min_length=1)] | float | bool | None = None
    edit: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What is said, by kind: one way of writing each."""
        said = {kind: getattr(self, kind) for kind in KINDS}
        if isinstance(self.thumb, bool):
            said["thumb"] = "up" if self.thumb else "down"
        if self.score is not None:
            said["score"] = self.score + 0.0  # -0.0 is 0.0
        return {kind: value for kind, value in said.items() if value is not None}


class Known(NamedTuple):
    """A record of feedback that is already kept."""

    id: str
    kind: str
    at: datetime


class FeedbackEndpoint:
    """`POST /v1/feedback`."""

    def __init__(self, access: Access, ledger: Ledger, commits: GroupCommit, max_body_bytes: int) -> None:
        self._access = access
        self._ledger = ledger
        self._commits = commits
        self._max_body_bytes = max_body_bytes
        self._decoder = msgspec.json.Decoder(FeedbackBody)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def work() -> dict[str, Any]:
            headers = dict(scope["headers"])
            caller = self._access.admit(headers)
            body = await read_json(receive, headers, self._max_body_bytes)
            return await self._keep(caller, decode(body, self._decoder, REMEDIES))

        await answer(send, work)

    async def _keep(self, caller: Caller, body: FeedbackBody) -> dict[str, Any]:
        request = _request_named(body)
        if not body.values:
            raise BadRequest(f"nothing is said of request {request!r:.100}; give one of {', '.join(KINDS)}")
        known = await asyncio.to_thread(self._known, request, caller)
        records = _records(request, caller.tenant, body.values, known)
        if records:
            await self._commits.commit(records)
        kept = [record.kind for record in records]
        return {
            "object": "stepdown.feedback",
            "request_id": request,
            "kept": kept,
            "known": [kind for kind in body.values if kind not in kept],
        }

    def _known(self, request: str, caller: Caller) -> list[Known]:
        """What was said of a request of the caller's before.

        Raises:
            NoSuchRequest: The caller has none of this id.
        """
        requests, feedback = schema.requests, schema.feedback
        owner = select(requests.c.tenant, requests.c.task).where(requests.c.id == request)
        found = self._ledger.rows(owner) if _plausible(request) else []
        if not found or not _may_speak(caller, found[0].tenant, found[0].task):
            raise NoSuchRequest(
                f"request {request!r:.100} is not known to this key; send the x-stepdown-request-id header "
                "of the answer once the answer has ended, with the key that the request was made with",
                param="request_id",
                code="request_not_found",
            )
        said = select(feedback.c.id, feedback.c.kind, feedback.c.at).where(feedback.c.request == request)
        return [Known._make(row) for row in self._ledger.rows(said.order_by(feedback.c.at, feedback.c.id))]


def _request_named(body: FeedbackBody) -> str:
    if body.request_id is not None and body.id is not None and body.request_id != body.id:
        raise BadRequest(
            f"request_id = {body.request_id!r:.100} and id = {body.id!r:.100} name two requests; give one",
            param="id",
        )
    named = body.id if body.request_id is None else body.request_id
    if named is None:
        raise BadRequest(f"request_id is missing; it is {REMEDIES['request_id']}", param="request_id")
    return named


def _plausible(request: str) -> bool:
    """Whether a text can be an id at all; PostgreSQL refuses to look for some texts."""
    return 0 < len(request) <= MAX_ID and request.isascii() and request.isprintable()


def _may_speak(caller: Caller, tenant: str, task: str) -> bool:
    """Whether a request is the caller's own, or of the task that the caller's key belongs to."""
    return tenant == caller.tenant or (caller.bound and task == caller.task)


def _records(request: str, tenant: str, values: Mapping[str, Any], known: Sequence[Known]) -> list[Feedback]:
    """What is new in these values, later than all that is known."""
    by_kind: dict[str, list[Known]] = defaultdict(list)
    for record in known:
        by_kind[record.kind].append(record)
    at = max(now(), *(record.at + TICK for record in known)) if known else now()
    found = []
    for kind, value in values.items():
        text = msgspec.json.encode(value).decode()
        before = [record.id for record in by_kind[kind]]
        names = [_id(request, tenant, kind, text, replaced) for replaced in ("", *before)]
        if not before or before[-1] not in names:
            found.append(Feedback(id=names[-1], request=request, at=at, kind=kind, value=text))
    return found


def _id(request: str, tenant: str, kind: str, value: str, replaced: str) -> str:
    """Hash of all but the time, and of what it replaces: a mind changed back is not the first mind."""
    return digest(msgspec.json.encode([request, tenant, kind, value, replaced]))
