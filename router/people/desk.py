"""`GET /v1/labels/queue` and `POST /v1/labels`: where people fetch what to label, and say what they think.

Invariant: a client's key opens neither, and what is acknowledged is in the ledger. Knows nothing of why an
item is in the queue, and so cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from router.access import Annotators
from router.asgi import Receive, Scope, Send
from router.documents import answer, decode, read_json
from router.people.item import Said
from router.people.shelf import read_page
from router.people.verdicts import MAX_ITEM, Statement, keep_verdict
from stepdown.errors import BadRequest
from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_TASK, TaskSettings

MAX_LIMIT = 100
QUERY = {
    "task": "the name of a task; `default` if left out",
    "limit": f"a whole number from 1 to {MAX_LIMIT}; 10 if left out",
    "annotator": "the person's name, where no keys are declared",
    "reference": "1 to be shown the reference, which sways who sees it; else 0",
}
REMEDIES = {
    "id": "the id of an item of GET /v1/labels/queue",
    "verdict": "a, b, tie, bad (both are) or skip for a pair, and good, bad or skip for a single answer",
    "annotator": QUERY["annotator"],
    "task": "the task of the item; best left out",
    "comment": "text of at most 10000 characters",
    "seconds": "how long it took, a number from 0 on",
}


class UnknownTask(BadRequest):
    """There is no such task."""

    status = 404


class LabelBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/labels`."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ITEM)]
    verdict: Said
    annotator: str | None = None
    task: str | None = None
    comment: Annotated[str, Meta(max_length=10_000)] | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None


class QueryFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /v1/labels/queue`."""

    task: str = DEFAULT_TASK
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 10
    annotator: str | None = None
    reference: bool = False


class LabelDesk:
    """Serves items to people and takes their verdicts.

    Args:
        annotators: Who is let in.
        tasks: The tasks by name.
        ledger: Where the queue and the labels are.
        max_body_bytes: Largest body accepted.
    """

    def __init__(
        self,
        annotators: Annotators,
        tasks: Mapping[str, TaskSettings],
        ledger: Ledger,
        max_body_bytes: int,
    ) -> None:
        self._annotators = annotators
        self._tasks = tasks
        self._ledger = ledger
        self._max_body_bytes = max_body_bytes
        self._decoder = msgspec.json.Decoder(LabelBody)

    async def queue(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `GET /v1/labels/queue`."""

        async def work() -> dict[str, Any]:
            query = _query(scope.get("query_string", b""))
            annotator = self._annotators.admit(dict(scope["headers"]), query.annotator)
            if query.task not in self._tasks:
                known = ", ".join(self._tasks)
                raise UnknownTask(
                    f"task {query.task!r:.200} is not known; known: {known}",
                    param="task",
                    code="task_not_found",
                )
            page = await asyncio.to_thread(
                read_page, self._ledger, query.task, annotator, query.limit, with_reference=query.reference
            )
            return {
                "object": "list",
                "task": query.task,
                "annotator": annotator,
                "waiting": page.waiting,
                "data": page.items,
            }

        await answer(send, work)

    async def label(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `POST /v1/labels`."""

        async def work() -> dict[str, Any]:
            headers = dict(scope["headers"])
            self._annotators.admit(headers, None)  # before a stranger's body is read
            body = decode(await read_json(receive, headers, self._max_body_bytes), self._decoder, REMEDIES)
            annotator = self._annotators.admit(headers, body.annotator)
            statement = Statement(
                body.id, annotator, body.verdict, body.task, body.comment or None, body.seconds
            )
            kept = await asyncio.to_thread(keep_verdict, self._ledger, self._tasks, statement)
            return {
                "object": "stepdown.label",
                "id": body.id,
                "annotator": annotator,
                "verdict": body.verdict,
                "kept": kept,
            }

        await answer(send, work)


def _query(raw: bytes) -> QueryFields:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
        fields = dict(pairs)
        _refuse_twice(pairs, fields)
        return msgspec.convert(fields, QueryFields, strict=False)
    except msgspec.ValidationError as error:
        param = next((name for name in fields if name not in QUERY or f"$.{name}`" in str(error)), None)
        shown = f"{param} = {fields[param]!r:.100}" if param is not None else "the query"
        takes = QUERY.get(param or "", f"no parameter; there are {', '.join(QUERY)}")
        raise BadRequest(f"{shown}: it is {takes}", param=param) from error
    except ValueError as error:
        raise BadRequest(f"the query {raw!r:.200} cannot be read: {error}") from error


def _refuse_twice(pairs: Iterable[tuple[str, str]], fields: Mapping[str, str]) -> None:
    for name, value in pairs:
        if fields[name] != value:
            raise BadRequest(f"{name} is given twice, as {value!r:.50} and {fields[name]!r:.50}", param=name)
