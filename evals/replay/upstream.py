"""The recorded upstream: an OpenAI-shaped server that answers with what two models once said.

Invariant: it answers only prompts of its recording; for any other it says so, with a 404.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from evals.replay.recording import RecordedAnswer, RecordedPair, estimated_tokens
from router.prompt import prompt_hash
from router.wire import error_body, parse_chat
from stepdown.errors import BadRequest, StepdownError
from stepdown.records import Tier

JSON = "application/json"
WORDS_PER_EVENT = 4


def model_name(tier: Tier) -> str:
    """The name under which the recorded upstream serves a tier."""
    return f"recorded-{tier}"


class RecordedUpstream:
    """Serves a recording on a free loopback port, from a thread, for as long as the block lasts."""

    def __init__(self, pairs: Sequence[RecordedPair]) -> None:
        self._pairs = {pair.key: pair for pair in pairs}
        app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="recorded-upstream", daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise StepdownError("the recorded upstream did not start; see the log above")
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _answer(self, request: Request) -> Response:
        try:
            chat = parse_chat(await request.body())
        except BadRequest as error:
            body = error_body(str(error), kind="invalid_request_error", param=error.param)
            return Response(body, 400, media_type=JSON)
        pair = self._pairs.get(prompt_hash(chat.prompt))
        tier = next((t for t in Tier if model_name(t) == chat.model), None)
        if pair is None or tier is None:
            message = (
                f"the recording has no answer of {chat.model!r} to this prompt; it only knows its own prompts"
            )
            return Response(
                error_body(message, kind="invalid_request_error", code="not_recorded"), 404, media_type=JSON
            )
        answer, usage = pair.answers[tier], _usage(pair, tier)
        if chat.stream:
            return StreamingResponse(_events(chat.model, answer, usage), media_type="text/event-stream")
        return Response(_completion(chat.model, answer, usage), media_type=JSON)


def _usage(pair: RecordedPair, tier: Tier) -> Mapping[str, int]:
    answer = pair.answers[tier]
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    prompt = estimated_tokens(pair.prompt.text) if prompt is None else prompt
    completion = estimated_tokens(answer.text) if completion is None else completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(model: str, answer: RecordedAnswer, usage: Mapping[str, int]) -> bytes:
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    head = {"id": "chatcmpl-recorded", "object": "chat.completion", "created": int(time.time())}
    return msgspec.json.encode({**head, "model": model, "choices": [choice], "usage": usage})


def _events(model: str, answer: RecordedAnswer, usage: Mapping[str, int]) -> Iterator[str]:
    head = {
        "id": "chatcmpl-recorded",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"

    def delta(content: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": content, "finish_reason": finish}]

    yield event(delta({"role": "assistant", "content": ""}))
    words = answer.text.split(" ")
    for start in range(0, len(words), WORDS_PER_EVENT):
        text = " ".join(words[start : start + WORDS_PER_EVENT])
        yield event(delta({"content": text if start == 0 else " " + text}))
    yield event(delta({}, answer.finish_reason))
    yield event([], usage=usage)
    yield "data: [DONE]\n\n"
