"""The recorded upstream speaks OpenAI's API, and only its recording."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from evals.replay.recording import RecordedPair
from evals.replay.upstream import RecordedUpstream, model_name
from stepdown.records import Tier
from tests.evals.replay.pairs import chat_messages, made_pairs


@pytest.fixture(scope="module")
def pairs() -> list[RecordedPair]:
    return list(made_pairs(6))


@pytest.fixture(scope="module")
def client(pairs: list[RecordedPair]) -> Iterator[openai.OpenAI]:
    with RecordedUpstream(pairs) as url:
        yield openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.mark.parametrize("tier", Tier)
def test_a_recorded_prompt_gets_the_recorded_answer(
    client: openai.OpenAI, pairs: list[RecordedPair], tier: Tier
) -> None:
    pair = pairs[1]
    answer = client.chat.completions.create(model=model_name(tier), messages=chat_messages(pair))
    assert answer.choices[0].message.content == pair.answers[tier].text
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 10)


def test_a_stream_adds_up_to_the_recorded_answer(client: openai.OpenAI, pairs: list[RecordedPair]) -> None:
    stream = client.chat.completions.create(
        model=model_name(Tier.STRONG), messages=chat_messages(pairs[0]), stream=True
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == pairs[0].answers[Tier.STRONG].text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 10


def test_an_unknown_prompt_or_model_is_a_404_that_says_so(
    client: openai.OpenAI, pairs: list[RecordedPair]
) -> None:
    with pytest.raises(openai.NotFoundError, match="only knows its own prompts"):
        client.chat.completions.create(
            model=model_name(Tier.STRONG), messages=[{"role": "user", "content": "never recorded"}]
        )
    with pytest.raises(openai.NotFoundError, match="'other'"):
        client.chat.completions.create(model="other", messages=chat_messages(pairs[0]))
