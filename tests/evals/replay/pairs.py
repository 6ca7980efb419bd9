"""A made recording: on short sums the small model is right, on long ones only the strong one is."""

from __future__ import annotations

import random
from collections.abc import Iterator

from openai.types.chat import ChatCompletionMessageParam

from evals.replay.recording import RecordedAnswer, RecordedPair
from stepdown.records import Tier

EASY = ("add", "sum", "plus")
HARD = ("integrate", "prove", "derive")


def made_pairs(count: int, *, seed: int = 0, flip: float = 0.0) -> Iterator[RecordedPair]:
    """Pairs of two kinds that their words tell apart; a share `flip` of small answers goes the other way."""
    rng = random.Random(seed)
    for i in range(count):
        easy = i % 2 == 0
        verb = rng.choice(EASY if easy else HARD)
        right = str(i)
        small_is_right = easy != (rng.random() < flip)
        yield RecordedPair(
            messages=({"role": "user", "content": f"Please {verb} case {i} of {rng.randint(1, 99)}."},),
            reference=right,
            check=None,
            slice="easy" if easy else "hard",
            answers={
                Tier.STRONG: RecordedAnswer(f"Answer: {right}", prompt_tokens=20, completion_tokens=10),
                Tier.SMALL: RecordedAnswer(
                    f"Answer: {right if small_is_right else -1}", prompt_tokens=20, completion_tokens=10
                ),
            },
        )


def chat_messages(pair: RecordedPair) -> list[ChatCompletionMessageParam]:
    """The messages of a pair, as the official client takes them."""
    return [{"role": "user", "content": str(pair.messages[0]["content"])}]
