"""A prompt with its template made visible: what varies from one query of a kind to the next is masked.

Invariant: two prompts that differ only in numbers, quoted parts, addresses or links have the same view.
Scripts without spaces are cut into single characters, so that pairs of neighbours are their words. Pure; it
knows nothing of clusters.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from router.features import HISTORY_TAIL, SYSTEM_HEAD, USER_HEAD, USER_TAIL, Features, featurize
from router.prompt import Prompt

MASK = "_"  # every mask begins with it, and no name of a slice has a word that does

_MASKS = (
    (re.compile(r"https?://\S+|\S{1,80}@\w\S*"), " _link_ "),
    (re.compile(r"(?<!\w)'[^'\n]{1,80}'(?!\w)|\"[^\"\n]{1,80}\"|`[^`\n]{1,80}`|“[^”\n]{1,80}”"), " _quote_ "),
    (re.compile(r"\d+(?:[.,:/-]\d+)*"), " _num_ "),
)
# Han, kana, Thai, Lao, Khmer, Burmese: written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[^\W\d][\w'-]*")


def view(prompt: Prompt) -> Prompt:
    """The prompt with what varies masked; its cost is bounded, however long the prompt is."""
    user = prompt.user
    if len(user) > USER_HEAD + USER_TAIL:
        user = f"{user[:USER_HEAD]}\n{user[-USER_TAIL:]}"
    return replace(
        prompt,
        system=masked(prompt.system[:SYSTEM_HEAD]),
        history=masked(prompt.history[-HISTORY_TAIL:]),
        user=masked(user),
    )


def masked(text: str) -> str:
    """The text with its variable parts masked."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def view_features(prompt: Prompt) -> Features:
    """The features by which prompts are clustered."""
    return featurize(view(prompt))


def words(prompt: Prompt) -> set[str]:
    """The distinct words of a prompt that could name a slice: no numbers, no quoted parts.

    Of scripts without spaces, the pairs of neighbouring characters.
    """
    text = view(prompt).text.casefold()
    found = {word.strip("'-") for word in _WORD.findall(text) if not word.startswith(MASK)}
    plain = {word for word in found if len(word) > 1 and not _UNSPACED.match(word)}
    return plain if text.isascii() else plain | _pairs(text)


def _pairs(text: str) -> set[str]:
    tokens = text.split()
    return {a + b for a, b in pairwise(tokens) if _single(a) and _single(b)}


def _single(token: str) -> bool:
    return len(token) == 1 and _UNSPACED.match(token) is not None
