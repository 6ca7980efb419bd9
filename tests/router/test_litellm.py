"""Models without a URL, through the real litellm, which talks to a fake provider."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from router.upstream.litellm_provider import LiteLlmProvider
from stepdown.errors import UpstreamUnreachable
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings
from tests.fakes import DONE, FakeModel, Reply, closed_port
from tests.router.driver import serving, settings_for
from tests.router.ledgers import calls_of

THROUGH_LITELLM = ModelSettings(
    model="anthropic/claude-fake",
    api_key_env="CLAUDE_KEY",
    input_usd_per_million=1,
    output_usd_per_million=2,
    timeout_s=60,
)
ENVIRON = {"CLAUDE_KEY": "sk-ant-1"}
USAGE = {"input_tokens": 5, "output_tokens": 2}


def claude(asked: Any) -> Reply:
    """Anthropic's Messages API, plain and streaming."""
    message = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "claude-fake",
        "stop_sequence": None,
    }
    if not asked.json.get("stream"):
        content = [{"type": "text", "text": "Bonjour."}]
        whole = {**message, "content": content, "stop_reason": "end_turn", "usage": USAGE}
        return Reply(parts=(json.dumps(whole).encode(),))
    steps: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Bonjour."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    parts = [f"event: {step['type']}\ndata: {json.dumps(step)}\n\n".encode() for step in steps]
    return Reply(content_type="text/event-stream", parts=parts)


@pytest.fixture
def provider(strong: FakeModel, monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Where litellm finds Anthropic."""
    monkeypatch.setenv("ANTHROPIC_API_BASE", f"http://127.0.0.1:{strong.port}")
    strong.behaviour = claude
    return strong


async def test_plain_and_streamed_answers_come_in_openais_shape(ledger: Ledger, provider: FakeModel) -> None:
    async with serving(settings_for(THROUGH_LITELLM), ledger, environ=ENVIRON) as client:
        whole = await client.chat(max_tokens=9, api_base="http://evil.example", vendor_field=[1])
        stream = await client.chat(stream=True, max_tokens=9)
    assert whole.status == 200
    assert whole.json["choices"][0]["message"]["content"] == "Bonjour."
    first = provider.asked[0]
    assert first.path == "/v1/messages", "a caller's api_base is not where the key goes"
    assert first.headers["x-api-key"] == "sk-ant-1"
    assert (first.json["model"], first.json["max_tokens"]) == ("claude-fake", 9)
    assert stream.body.endswith(DONE)
    events = [json.loads(e[6:]) for e in stream.body.split(b"\n\n") if e.startswith(b"data: {")]
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events) == "Bonjour."
    for response in (whole, stream):
        (call,) = calls_of(ledger, response.id)
        assert (call.complete, call.prompt_tokens, call.completion_tokens) == (True, 5, 2)
        assert call.cost_usd_micros == 5 * 1 + 2 * 2
        assert call.model == "anthropic/claude-fake"


async def test_a_providers_error_keeps_its_status_and_words(ledger: Ledger, provider: FakeModel) -> None:
    said = {"type": "error", "error": {"type": "rate_limit_error", "message": "too many cats"}}
    provider.behaviour = lambda asked: Reply(status=429, parts=(json.dumps(said).encode(),))
    async with serving(settings_for(THROUGH_LITELLM), ledger, environ=ENVIRON) as client:
        response = await client.chat(max_tokens=9)
    assert response.status == 429
    assert "too many cats" in response.error["message"]
    assert calls_of(ledger, response.id)[0].status == 429


async def test_a_provider_that_is_down_is_a_5xx(
    ledger: Ledger, provider: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_BASE", f"http://127.0.0.1:{closed_port()}")
    async with serving(settings_for(THROUGH_LITELLM), ledger, environ=ENVIRON) as client:
        response = await client.chat(max_tokens=9)
    assert response.status in (500, 502, 503)
    assert not calls_of(ledger, response.id)[0].complete


async def test_without_litellm_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    upstream = LiteLlmProvider(name="model 'x'", model="anthropic/x", key=None, timeout_s=1)
    with pytest.raises(UpstreamUnreachable, match=r"install stepdown\[providers\]"):
        await upstream.ask(b"{}", stream=False, authorization=None)
