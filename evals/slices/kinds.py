"""Slicings that need no clustering: by the caller's tag, by language, by length. Pure.

Invariant: each names every prompt, `unknown` where it cannot tell, so that the shares add up to all
traffic.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from functools import cache
from typing import Any

from evals.slices.view import MASK, view
from router.prompt import Prompt

UNTAGGED = "(untagged)"
REST = "(the rest)"
UNKNOWN = "unknown"
CHARACTERS_PER_TOKEN = 4
LENGTHS = (64, 256, 1024, 4096)
MIN_LETTERS = 20  # of words in spaced scripts; below it a language is a guess
MIN_LETTERS_UNSPACED = 6
MIN_PROBABILITY = 0.8
NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content


class By(enum.StrEnum):
    """What a task's traffic is sliced by."""

    CLUSTER = "cluster"
    TAG = "tag"
    LANGUAGE = "language"
    LENGTH = "length"


def length_name(prompt: Prompt) -> str:
    """The bucket of a prompt's length in tokens, estimated at four characters each."""
    tokens = len(prompt.text) // CHARACTERS_PER_TOKEN
    place = bisect_right(LENGTHS, tokens)
    if place == 0:
        return f"under {LENGTHS[0]} tokens"
    if place == len(LENGTHS):
        return f"{LENGTHS[-1]:,} tokens and more"
    return f"{LENGTHS[place - 1]:,} to {LENGTHS[place] - 1:,} tokens"


def language_name(prompt: Prompt) -> str:
    """The ISO 639-1 code of the language of a prompt's last message, or `unknown`."""
    code, probability = language_of(prompt)
    return code if probability >= MIN_PROBABILITY else UNKNOWN


def language_of(prompt: Prompt) -> tuple[str, float]:
    """The likeliest language of a prompt's last message, and its probability; 0 where it is too short."""
    words = [word for word in view(prompt).user.split() if not word.startswith(MASK)]
    letters = sum(character.isalpha() for word in words for character in word)
    unspaced = bool(words) and sum(len(word) == 1 for word in words) > len(words) / 2
    if letters < (MIN_LETTERS_UNSPACED if unspaced else MIN_LETTERS):
        return UNKNOWN, 0.0
    code, probability = _identifier().classify(("" if unspaced else " ").join(words))
    return (UNKNOWN, 0.0) if code == NO_LANGUAGE else (str(code), float(probability))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes a second, and only this needs it

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
