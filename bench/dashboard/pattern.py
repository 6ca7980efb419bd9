"""The queries that the traffic of the benchmark is made of: recorded prompts, and variants of them.

Invariant: a pattern has what the two recorded models answered to its prompt, and what a fitted router thinks
of it. Variants differ in a line at the end of the prompt, so that each is a prompt of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from evals.replay.recording import RecordedPair, estimated_tokens
from router.model import RouterModel
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ledger import Body
from stepdown.prices import price_of
from stepdown.records import Tier
from stepdown.settings import ModelSettings

RARE = "zanzibar"  # a word that no recorded prompt has; it is in one pattern
RARE_NUMBER = 7


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered to a pattern."""

    body: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd_micros: int
    good: bool


@dataclass(frozen=True, slots=True)
class Pattern:
    """One prompt with both answers, and the router's scores."""

    prompt_hash: str
    body: str
    slice: str | None
    answers: Mapping[Tier, Answer]
    p_strong: float
    p_small: float

    @property
    def gain(self) -> float:
        """What asking the strong model is expected to gain."""
        return self.p_strong - self.p_small


def make_patterns(
    pairs: Sequence[RecordedPair],
    good: Mapping[tuple[str, Tier], bool],
    models: Mapping[Tier, ModelSettings],
    router: RouterModel,
    wanted: int,
) -> tuple[list[Pattern], list[Body]]:
    """The first variants of the recorded pairs, and the bodies that they name.

    Args:
        pairs: As recorded.
        good: Whether a model's answer was, by the prompt's hash.
        models: The models by tier, for their prices.
        router: Scores the prompts.
        wanted: How many patterns.
    """
    bodies: dict[str, Body] = {}
    made = []
    for number in range(wanted):
        variant, place = divmod(number, len(pairs))
        more = [f"(case {variant})"] * bool(variant) + [RARE] * (number == RARE_NUMBER)
        made.append(_pattern(pairs[place], "\n\n".join(more), good, models, router, bodies))
    return made, list(bodies.values())


def _pattern(
    pair: RecordedPair,
    more: str,
    good: Mapping[tuple[str, Tier], bool],
    models: Mapping[Tier, ModelSettings],
    router: RouterModel,
    bodies: dict[str, Body],
) -> Pattern:
    messages = [dict(message) for message in pair.messages]
    if more:
        messages[-1]["content"] = f"{messages[-1]['content']}\n\n{more}"
    body = Body.of(msgspec.json.encode({"model": "stepdown", "messages": messages, "temperature": 0.0}))
    bodies[body.digest] = body
    prompt = read_prompt(body.content)
    scores = router.score(prompt)
    answers = {tier: _answer(pair, tier, models[tier], good, bodies) for tier in Tier}
    return Pattern(prompt_hash(prompt), body.digest, pair.slice, answers, scores.p_strong, scores.p_small)


def _answer(
    pair: RecordedPair,
    tier: Tier,
    model: ModelSettings,
    good: Mapping[tuple[str, Tier], bool],
    bodies: dict[str, Body],
) -> Answer:
    said = pair.answers[tier]
    read = said.prompt_tokens or estimated_tokens(pair.prompt.text)
    written = said.completion_tokens or estimated_tokens(said.text)
    body = Body.of(_answer_body(said.text, model.model, read, written))
    bodies[body.digest] = body
    price = price_of(model)
    cost = None if price is None else price.cost_usd_micros(read, written)
    return Answer(body.digest, read, written, cost or 0, good.get((pair.key, tier), False))


def _answer_body(text: str, model: str, read: int, written: int) -> bytes:
    message = {"role": "assistant", "content": text}
    return msgspec.json.encode(
        {
            "object": "chat.completion",
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
    )
