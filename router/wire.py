"""OpenAI's wire format: requests in, errors out, answers read.

Invariant: what a client sends in fields that Stepdown does not read reaches the upstream byte for byte,
because fields are kept as raw JSON and only those that must change are written anew. Pure: no I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from router.prompt import ChatView, Prompt, prompt_of
from stepdown.errors import BadRequest

METADATA_PREFIX = "stepdown."
DONE = b"[DONE]"

UNREADABLE = (UnicodeDecodeError, msgspec.DecodeError, RecursionError)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_view = msgspec.json.Decoder(ChatView)
_data_lines = re.compile(rb"\ndata:([^\n]*)")
_path = re.compile(r" - at `\$\.?([^`]*)`$")


@dataclass(frozen=True, slots=True)
class Hints:
    """What the caller says about a request, in `metadata` keys that begin with `stepdown.`.

    Attributes:
        reference: The right answer, for a check; JSON text of the metadata value.
        check: Which of the task's checks applies.
        slice: The caller's own tag for the kind of query.
        conversation: Id under which the turns of one conversation belong together.
    """

    reference: str | None = None
    check: str | None = None
    slice: str | None = None
    conversation: str | None = None


NO_HINTS = Hints()


class ChatRequest(NamedTuple):
    """A parsed chat request.

    Attributes:
        fields: Every field as raw JSON, the `stepdown.` metadata taken out.
        wants_usage: Whether the client itself asked for usage in the stream.
    """

    fields: Mapping[str, msgspec.Raw]
    model: str
    prompt: Prompt
    stream: bool
    wants_usage: bool
    hints: Hints


def parse_chat(body: bytes) -> ChatRequest:
    """Parse and validate the body of `POST /v1/chat/completions`.

    Raises:
        BadRequest: The body is not UTF-8 JSON, or a field is missing or of the wrong type; names it.
    """
    try:
        body.decode()
        fields = _fields.decode(body)
        view = _view.decode(body)
    except UNREADABLE as error:
        raise unreadable(error, body) from error
    hints = _take_hints(view.metadata, fields) if view.metadata else NO_HINTS
    return ChatRequest(
        fields=fields,
        model=view.model,
        prompt=prompt_of(view),
        stream=bool(view.stream),
        wants_usage=bool((view.stream_options or {}).get("include_usage")),
        hints=hints,
    )


def unreadable(error: Exception, body: bytes) -> BadRequest:
    """What to tell a client whose body raised one of `UNREADABLE`; names the field and its value."""
    if isinstance(error, UnicodeDecodeError):
        return BadRequest(f"the body is not UTF-8: byte {body[error.start]:#04x} at {error.start}")
    if isinstance(error, msgspec.ValidationError):
        return _invalid(error, body)
    return BadRequest(f"the body is not JSON: {error}", code="invalid_json")


def read_prompt(body: bytes) -> Prompt:
    """The prompt of a request body kept in the ledger.

    Raises:
        BadRequest: The body is not a chat request.
    """
    return parse_chat(body).prompt


def upstream_body(chat: ChatRequest, model: str) -> bytes:
    """The body for an upstream: the model renamed, usage asked for in streams, all else as it came."""
    fields = {**chat.fields, "model": _raw(model)}
    if chat.stream:
        options = json.loads(bytes(chat.fields.get("stream_options") or b"null")) or {}
        fields["stream_options"] = _raw({**options, "include_usage": True})
    return msgspec.json.encode(fields)


def plain_body(chat: ChatRequest, model: str) -> bytes:
    """As `upstream_body`, but not streamed: for shadow calls, which nobody watches."""
    fields = {k: v for k, v in chat.fields.items() if k not in ("stream", "stream_options")}
    return msgspec.json.encode({**fields, "model": _raw(model)})


def error_body(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _take_hints(metadata: Mapping[str, Any], fields: dict[str, msgspec.Raw]) -> Hints:
    """The hints in the metadata, which are taken out of the fields."""
    own, others = _split_metadata(metadata)
    if own and others:
        fields["metadata"] = _raw(others)
    elif own:
        del fields["metadata"]
    return _hints(own)


def _split_metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {k.removeprefix(METADATA_PREFIX): v for k, v in metadata.items() if k.startswith(METADATA_PREFIX)}
    return own, {k: v for k, v in metadata.items() if not k.startswith(METADATA_PREFIX)}


def _hints(own: Mapping[str, Any]) -> Hints:
    known = {"reference", "check", "slice", "conversation"}
    for key, value in own.items():
        path = f"metadata['{METADATA_PREFIX}{key}']"
        if key not in known:
            wanted = ", ".join(sorted(METADATA_PREFIX + k for k in known))
            raise BadRequest(f"{path} is not known; known: {wanted}", param="metadata")
        if key != "reference" and not (isinstance(value, str) and 0 < len(value) <= 200):
            raise BadRequest(f"{path} = {value!r:.100} must be 1 to 200 characters of text", param="metadata")
    reference = own.get("reference")
    return Hints(
        reference=None if reference is None else json.dumps(reference),
        check=own.get("check"),
        slice=own.get("slice"),
        conversation=own.get("conversation"),
    )


def _invalid(error: msgspec.ValidationError, body: bytes) -> BadRequest:
    text = str(error)
    match = _path.search(text)
    param = match.group(1) if match else None
    if param is None and (missing := re.search(r"(?:missing required|unknown) field `([^`]*)`", text)):
        param = missing.group(1)
    shown = f"{param or 'body'}: {_path.sub('', text)}"
    if param and (value := _value_in(body, param)) is not None:
        shown += f", got {value!r:.100}"
    return BadRequest(shown, param=param)


def _value_in(body: bytes, path: str) -> Any:
    try:
        return _value_at(json.loads(body), path)
    except (ValueError, RecursionError):  # a number of thousands of digits, say
        return None


def _value_at(value: Any, path: str) -> Any:
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        try:
            value = value[key] if key else value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value


class Ending(msgspec.Struct):
    """What the ledger needs of an answer, read from its JSON or put together from its SSE events.

    Attributes:
        finish_reason: Of the first choice.
        prompt_tokens: As the upstream counted; None where it did not say. Likewise the others.
        complete: Whether the body is a whole answer: readable, without an error in it, not cut off.
    """

    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    complete: bool = False


class ToolCall(NamedTuple):
    """A tool that an answer calls.

    Attributes:
        arguments: JSON text, as the model wrote it.
    """

    name: str
    arguments: str


class Answer(Ending):
    """All that is read of an answer.

    Attributes:
        text: The text of the first choice.
        tool_calls: The tools that the first choice calls, in order.
        refusal: The first choice's words of refusal, where the API sets them apart.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str = ""


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _CalledTool(msgspec.Struct, gc=False):
    index: int | None = None
    function: _Function | None = None


class _Content(msgspec.Struct, gc=False):
    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[_CalledTool] | None = None

    @property
    def text(self) -> str:
        """The text, be it in one piece or in parts."""
        if isinstance(self.content, list):
            return "".join(str(p.get("text", "")) for p in self.content if isinstance(p, dict))
        return self.content or ""


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    message: _Content | None = None
    delta: _Content | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_completion = msgspec.json.Decoder(_Completion)
_completions = msgspec.json.Decoder(list[_Completion])


def read_ending(body: bytes) -> Ending:
    """Read how an answer's body, JSON or SSE, whole or cut off, ends; what cannot be read is left unset."""
    return _read_into(Ending(), body)[0]


def read_answer(body: bytes) -> Answer:
    """As `read_ending`, but its text too."""
    answer, parts = _read_into(Answer(), body)
    firsts = [choice for part in parts for choice in part.choices if choice.index == 0]
    said = [content for choice in firsts if (content := choice.message or choice.delta)]
    answer.text = "".join(content.text for content in said)
    answer.refusal = "".join(content.refusal or "" for content in said)
    answer.tool_calls = _tool_calls(said)
    return answer


def _tool_calls(said: list[_Content]) -> tuple[ToolCall, ...]:
    """The tools called; in a stream each comes in pieces that share an index."""
    calls: dict[int, ToolCall] = {}
    for content in said:
        for place, piece in enumerate(content.tool_calls or ()):
            index, function = place if piece.index is None else piece.index, piece.function or _Function()
            before = calls.get(index, ToolCall("", ""))
            calls[index] = ToolCall(
                before.name + (function.name or ""), before.arguments + (function.arguments or "")
            )
    return tuple(calls[index] for index in sorted(calls))


def events_of(body: bytes) -> list[bytes]:
    """The data of each whole SSE event of a body, in order."""
    return [
        content for line in body.split(b"\n") if line.startswith(b"data:") and (content := line[5:].strip())
    ]


Read = TypeVar("Read", bound=Ending)


def _read_into(ending: Read, body: bytes) -> tuple[Read, list[_Completion]]:
    """Fill an ending in, and give the documents that could be read too."""
    if body.lstrip()[:1] == b"{":
        documents, whole = [body], 1
    else:
        events = events_of(body)
        documents = [event for event in events if event != DONE]
        whole = _before_the_last_done(events)
    read = _read_all(documents)
    ending.complete = whole >= 0 and all(part is not None and part.error is None for part in read[:whole])
    parts = [part for part in read if part is not None]
    for part in parts:
        for choice in part.choices:
            if choice.finish_reason and choice.index == 0:
                ending.finish_reason = choice.finish_reason
        if part.usage is not None:
            _count(ending, part.usage)
    return ending, parts


def _before_the_last_done(events: list[bytes]) -> int:
    """How many documents come before the last `[DONE]`; -1 where there is none."""
    if DONE not in events:
        return -1
    last = len(events) - 1 - events[::-1].index(DONE)
    return last - events[:last].count(DONE)


def _read_all(documents: list[bytes]) -> list[_Completion | None]:
    """Each document read; as one array, which is much faster, where all of them can be."""
    try:
        read: list[_Completion | None] = [*_completions.decode(b"[%b]" % b",".join(documents))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        read = []
    return read if len(read) == len(documents) else [_read(document) for document in documents]


def _read(document: bytes) -> _Completion | None:
    try:
        return _completion.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _count(ending: Ending, usage: _Usage) -> None:
    ending.prompt_tokens = usage.prompt_tokens
    ending.completion_tokens = usage.completion_tokens
    details = usage.prompt_tokens_details
    ending.cached_tokens = details.cached_tokens if details else None
