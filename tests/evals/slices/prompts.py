"""Prompts of known kinds, from the repository's generators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.traffic import generate
from evals.slices.fit import SamplePrompt
from evals.slices.model import SliceModel
from evals.slices.view import view_features
from router.prompt import ChatView, Message, Prompt, prompt_hash, prompt_of

KINDS = ("sql", "sentiment", "order_json", "table_lookup", "email_address", "unit_conversion")


def asked(text: str, system: str | None = None) -> Prompt:
    """The prompt of one user message."""
    messages = [Message("system", system)] if system is not None else []
    return prompt_of(ChatView(model="m", messages=[*messages, Message("user", text)]))


def sample(texts: Iterable[str], system: str | None = None) -> list[SamplePrompt]:
    """Prompts as they are clustered."""
    prompts = [asked(text, system) for text in texts]
    return [SamplePrompt(prompt_hash(p), f"body-{i}", p) for i, p in enumerate(prompts)]


def texts_of(kind: str, count: int, seed: int = 0) -> list[str]:
    """Prompts of a kind."""
    return [prompt.text for prompt in generate(seed, {kind: count})]


def mixed(counts: dict[str, int], seed: int = 0) -> list[tuple[str, str]]:
    """Kind and text of prompts of several kinds."""
    return [(prompt.kind, prompt.text) for prompt in generate(seed, counts)]


def ids_of(model: SliceModel, texts: Sequence[str]) -> NDArray[np.str_]:
    """The id of each prompt's slice, `other` for none."""
    places = model.assign([view_features(asked(text)) for text in texts])
    return np.array([model.slices[i].id if i >= 0 else "other" for i in places])
