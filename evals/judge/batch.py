"""Large backlogs through the provider's batch endpoint: the same questions, cheaper, answered within a day.

Invariant: a batch is written down before the provider hears of it, under an id that goes along as its tag. So
a sweep that is killed at any point finds its batch again, by id or by tag, and pays for nothing twice; and
results that are read twice are the same calls. A sweep never waits for a batch.

    prepared ──▶ submitted ──▶ done | expired      results are kept; what is missing is asked again
        │            └───────▶ failed              nothing came of it; for a while each question is put alone
        └──▶ abandoned                             the provider never heard of it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, insert, select, update

from evals.judge.endpoint import COMPLETIONS, Endpoint, Remote
from evals.judge.history import call_id, key_of
from evals.judge.judges import Judge
from router.ask import WORTH_ANOTHER_TRY
from router.wire import read_ending
from stepdown.errors import UpstreamError
from stepdown.ids import digest, new_id, now
from stepdown.ledger import Body, Ledger, Record, schema
from stepdown.prices import price_of
from stepdown.records import Call, Role, Tier

PREPARED, SUBMITTED = "prepared", "submitted"
DONE, FAILED, EXPIRED, ABANDONED = "done", "failed", "expired", "abandoned"
OPEN = (PREPARED, SUBMITTED)
ENDED = {"completed": DONE, "expired": EXPIRED, "cancelled": EXPIRED, "failed": FAILED}
UNASKED = frozenset({"batch_expired", "batch_cancelled"})
MOST_LINES = 10_000  # of a batch, where OpenAI allows 50,000; a larger backlog is several batches
MOST_BYTES = 100_000_000  # half of what OpenAI allows
UNHEARD_OF = timedelta(minutes=2)  # after which a batch that is in no listing was never made
LOST = timedelta(days=3)  # after which a batch of a day that cannot be looked at is no longer waited for
PAUSE = timedelta(hours=1)
KEPT_AT_ONCE = 500

_b = schema.batches
Note = Callable[[str], None]


class Question(NamedTuple):
    """One line of a batch.

    Attributes:
        name: See `evals.judge.history.question_id`; the line's custom_id.
        request: Whose bill it is on.
        fields: The chat request's fields but `model`.
    """

    name: str
    request: str
    fields: dict[str, Any]


class _Refusal(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Response(msgspec.Struct, frozen=True):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"")


class _Result(msgspec.Struct, frozen=True):
    """A line of an output or error file."""

    custom_id: str
    response: _Response | None = None
    error: _Refusal | None = None


class Batches:
    """A judge's batches.

    Args:
        ledger: Where they are written down, and their results kept.
        judge: Whose.
        endpoint: The provider's.
        key: The upstream's key, to be kept out of what is recorded.
        note: Told what became of a batch that did not go well.
    """

    def __init__(
        self, ledger: Ledger, judge: Judge, endpoint: Endpoint, *, key: str | None, note: Note
    ) -> None:
        self._ledger = ledger
        self._judge = judge
        self._endpoint = endpoint
        self._key = (key or "").encode()
        self._note = note

    async def advance(self) -> None:
        """Look once at each open batch, and keep the results of those that have ended.

        Raises:
            LedgerError: The ledger refused; what is not kept is fetched again.
        """
        for row in self._open():
            try:
                await self._advance(row)
            except UpstreamError as error:
                self._note(f"could not look at its batch {row.id}: {error}")
                if error.status == 404 or row.at < now() - LOST:
                    self._move(row.id, EXPIRED)

    def under_way(self) -> set[str]:
        """Keys of the judgements that wait for a batch."""
        return {key_of(name) for row in self._open() for name in self._manifest(row)}

    def paused(self) -> bool:
        """Whether the endpoint failed so lately that questions are put one by one."""
        newest = select(_b.c.at, _b.c.state).where(self._own()).order_by(_b.c.at.desc()).limit(1)
        return any(row.state == FAILED and row.at > now() - PAUSE for row in self._ledger.rows(newest))

    async def submit(self, questions: Iterable[Question]) -> int:
        """Send questions as one batch, as many as it takes.

        Returns:
            How many judgements the batch is for; 0 where the endpoint refused it.
        """
        taken = list(self._lines(questions))
        judgements = len({key_of(question.name) for question, _ in taken})
        name = new_id()
        self._prepare(name, {question.name: question.request for question, _ in taken})
        try:
            file = await self._endpoint.upload(b"".join(line for _, line in taken))
            remote = await self._endpoint.create(file, name)
        except UpstreamError as error:
            self._note(f"could not send a batch of {len(taken)} questions: {error}")
            if error.status in WORTH_ANOTHER_TRY:  # it may have been made all the same: the next sweep looks
                return judgements
            self._move(name, FAILED)
            return 0
        self._move(name, SUBMITTED, remote.id)
        return judgements

    def _own(self) -> Any:
        return (_b.c.task == self._judge.task) & (_b.c.labeller == self._judge.labeller)

    def _open(self) -> list[Row[Any]]:
        return list(self._ledger.rows(select(_b).where(self._own(), _b.c.state.in_(OPEN)).order_by(_b.c.at)))

    def _manifest(self, row: Row[Any]) -> dict[str, str]:
        """The questions of a batch by name, each with its request."""
        return msgspec.json.decode(self._ledger.body(row.body), type=dict[str, str])

    def _lines(self, questions: Iterable[Question]) -> Iterator[tuple[Question, bytes]]:
        size = 0
        for question in islice(questions, MOST_LINES):
            line = msgspec.json.encode(
                {
                    "custom_id": question.name,
                    "method": "POST",
                    "url": COMPLETIONS,
                    "body": {**question.fields, "model": self._judge.model.model},
                }
            )
            size += len(line) + 1
            if size > MOST_BYTES:
                return
            yield question, line + b"\n"

    def _prepare(self, name: str, manifest: Mapping[str, str]) -> None:
        body = Body.of(msgspec.json.encode(manifest))
        row = {
            "id": name,
            "at": now(),
            "task": self._judge.task,
            "labeller": self._judge.labeller,
            "version": self._judge.version,
            "model": self._judge.model.model,
            "upstream_id": None,
            "state": PREPARED,
            "body": body.digest,
        }
        with self._ledger.writing() as connection:
            self._ledger.add(connection, [body])
            connection.execute(insert(_b).values(**row))

    def _move(self, name: str, state: str, upstream_id: str | None = None) -> None:
        values = {"state": state, **({"upstream_id": upstream_id} if upstream_id else {})}
        with self._ledger.writing() as connection:
            connection.execute(update(_b).where(_b.c.id == name).values(**values))

    async def _advance(self, row: Row[Any]) -> None:
        remote = await self._remote(row)
        if remote is None:
            if row.at < now() - UNHEARD_OF:
                self._move(row.id, ABANDONED)
            return
        if remote.status in ENDED:
            await self._collect(row, remote)
        elif row.state == PREPARED:
            self._move(row.id, SUBMITTED, remote.id)

    async def _remote(self, row: Row[Any]) -> Remote | None:
        if row.upstream_id is None:
            return await self._endpoint.find(row.id)
        return await self._endpoint.look(row.upstream_id)

    async def _collect(self, row: Row[Any], remote: Remote) -> None:
        """Keep the results of a batch that has ended, then say that they are kept."""
        files = [file for file in (remote.output_file_id, remote.error_file_id) if file]
        manifest = self._manifest(row)
        unread = 0
        for file in files:
            lines = (await self._endpoint.content(file)).splitlines()
            for start in range(0, len(lines), KEPT_AT_ONCE):
                records: list[Record] = []
                for line in lines[start : start + KEPT_AT_ONCE]:
                    made = self._records(row, remote, manifest, line)
                    unread += made is None
                    records += made or ()
                self._ledger.append(records)
        self._say(row, remote, unread)
        self._move(row.id, ENDED[remote.status], remote.id)

    def _say(self, row: Row[Any], remote: Remote, unread: int) -> None:
        if unread:
            self._note(f"cannot read {unread} lines of the results of batch {remote.id}")
        if remote.status != "completed":
            why = f": {msgspec.json.encode(remote.errors).decode():.300}" if remote.errors else ""
            self._note(f"saw its batch {remote.id} end as {remote.status}{why}")

    def _records(
        self, row: Row[Any], remote: Remote, manifest: Mapping[str, str], line: bytes
    ) -> list[Record] | None:
        """What a line of the results says; None where it cannot be read or names no question of the batch."""
        if not line.strip():
            return []
        try:
            result = msgspec.json.decode(line, type=_Result)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        request = manifest.get(result.custom_id)
        if request is None:
            return None
        if result.response is None and result.error is not None and result.error.code in UNASKED:
            return []  # nobody was asked, so there is nothing to hold against the question
        return self._call(row.model, remote.id, request, result)

    def _call(self, model: str, batch: str, request: str, result: _Result) -> list[Record]:
        response = result.response or _Response()
        content = bytes(response.body).replace(self._key, b"[key]") if self._key else bytes(response.body)
        ending, body = read_ending(content), Body.of(content) if content else None
        error = self._error(result, content, ending.complete and bool(ending.finish_reason))
        round_ = digest(f"{batch} {result.custom_id}".encode())[:20]
        call = Call(
            id=call_id(result.custom_id, round_, 0),
            request=request,
            at=now(),
            role=Role.JUDGE,
            tier=Tier.STRONG,
            model=model,
            status=response.status_code,
            complete=error is None,
            latency_ms=0.0,  # of no meaning in a batch
            prompt_tokens=ending.prompt_tokens,
            completion_tokens=ending.completion_tokens,
            cached_tokens=ending.cached_tokens,
            cost_usd_micros=self._cost(
                model, ending.prompt_tokens, ending.completion_tokens, ending.cached_tokens
            ),
            finish_reason=ending.finish_reason and ending.finish_reason[:64],
            error=error,
            body=body.digest if body else None,
        )
        return [call] if body is None else [call, body]

    def _error(self, result: _Result, content: bytes, whole: bool) -> str | None:
        if result.error is not None:
            return f"batch: {result.error.code}: {result.error.message}"[:300]
        status = result.response.status_code if result.response else 0
        if status != 200:
            return f"batch: answered {status}: {content[:200].decode('utf-8', 'replace')}"
        return None if whole else "batch: no chat completion"

    def _cost(self, model: str, prompt: int | None, completion: int | None, cached: int | None) -> int | None:
        price = price_of(self._judge.model) if model == self._judge.model.model else None
        cost = price.cost_usd_micros(prompt, completion, cached) if price else None
        return None if cost is None else round(cost * self._judge.model.batch_price)
