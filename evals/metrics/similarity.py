"""Similarity of an answer and of what a person made of it.

1 minus the Levenshtein distance over the length of the longer text: the share of the longer text that nobody
had to type. Chosen because a replaced character is one edit, as it is for a person, where the LCS ratio
(`difflib`, `fuzz.ratio`) counts it twice, and because measures on sets of words call a reordered answer the
same. Compared by code points, after NFC, with one kind of line end and no white space around; case,
punctuation and indentation count. Texts too long for that are compared by words, and longer ones not at all,
so the time is bounded whatever users send.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

VERSION = "1"
MAX_CELLS = 2_000_000_000  # of the matrix of distances, of which a step fills 64: a tenth of a second
_words = re.compile(r"\s+|\S+")


class Similarity(NamedTuple):
    """How much of the longer text is common to both.

    Attributes:
        value: In [0, 1].
        by: What was compared: `characters` or `words`.
    """

    value: float
    by: str


def normalised(text: str) -> str:
    """The text as it is compared."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def similarity(answer: str, edit: str, *, max_cells: int = MAX_CELLS) -> Similarity | None:
    """How much of an answer an edit kept; None where they are too long to compare."""
    from rapidfuzz.distance import Levenshtein

    one, other = normalised(answer), normalised(edit)
    if one == other:
        return Similarity(1.0, "characters")
    if len(one) * len(other) <= max_cells:
        return Similarity(Levenshtein.normalized_similarity(one, other), "characters")
    words, others = _words.findall(one), _words.findall(other)
    if len(words) * len(others) <= max_cells:
        return Similarity(Levenshtein.normalized_similarity(words, others), "words")
    return None
