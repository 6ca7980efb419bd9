"""What two answers have in common, word by word.

Invariant: bounded: texts beyond `LONGEST` characters, or with more than `MOST_CHANGES` words that are not in
both, are not compared, and whoever asked is told. The shortest list of changes is found by the greedy
algorithm of E. Myers, "An O(ND) Difference Algorithm and Its Variations" (Algorithmica 1, 1986), section 4.
White space does not count. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

LONGEST = 20_000  # characters
MOST_CHANGES = 300  # words that one text has and the other has not
# Scripts that write no spaces between words are compared sign by sign.
_words = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+\s*|\s+"
)


class Piece(NamedTuple):
    """A stretch of a text, and whether the other text has it too."""

    text: str
    is_shared: bool


class Diff(NamedTuple):
    """Two texts, each cut into what is shared and what is not."""

    left: list[Piece]
    right: list[Piece]


def word_diff(left: str, right: str) -> Diff | None:
    """Two texts compared; None where they are too long or have too little in common."""
    if max(len(left), len(right)) > LONGEST:
        return None
    ours, theirs = _words.findall(left), _words.findall(right)
    pairs = _common([word.strip() for word in ours], [word.strip() for word in theirs])
    if pairs is None:
        return None
    return Diff(
        _pieces(ours, {one for one, _ in pairs}),
        _pieces(theirs, {other for _, other in pairs}),
    )


def _pieces(words: Sequence[str], shared: set[int]) -> list[Piece]:
    """Words joined to stretches that are all shared, or all not."""
    found: list[Piece] = []
    for number, word in enumerate(words):
        is_shared = number in shared
        if found and found[-1].is_shared == is_shared:
            found[-1] = Piece(found[-1].text + word, is_shared)
        else:
            found.append(Piece(word, is_shared))
    return found


def _common(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]] | None:
    """The places of a longest common subsequence, but for the equal ends, which are cut off first."""
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    inner = _myers(left[start : len(left) - end], right[start : len(right) - end])
    if inner is None:
        return None
    return [
        *((place, place) for place in range(start)),
        *((start + one, start + other) for one, other in inner),
        *((len(left) - 1 - place, len(right) - 1 - place) for place in range(end)),
    ]


def _myers(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]] | None:
    """Pairs of equal places, in descending order; None where there are more than `MOST_CHANGES` changes."""
    ours, theirs = Counter(left), Counter(right)
    if ((ours - theirs) + (theirs - ours)).total() > MOST_CHANGES:
        return None  # in whatever order they stand
    furthest: dict[int, int] = {1: 0}  # by diagonal (x - y): how far along `left` a path has come
    before: list[dict[int, int]] = []
    for changes in range(min(MOST_CHANGES, len(left) + len(right)) + 1):
        before.append(dict(furthest))
        for diagonal in range(-changes, changes + 1, 2):
            if diagonal == -changes or (
                diagonal != changes and furthest[diagonal - 1] < furthest[diagonal + 1]
            ):
                x = furthest[diagonal + 1]  # as `_step` says, which would be called too often
            else:
                x = furthest[diagonal - 1] + 1
            while x < len(left) and x - diagonal < len(right) and left[x] == right[x - diagonal]:
                x += 1
            furthest[diagonal] = x
            if x >= len(left) and x - diagonal >= len(right):
                return list(_path(before, len(left), len(right)))
    return None


def _step(furthest: dict[int, int], diagonal: int, changes: int) -> int:
    """How far a path comes that goes on to a diagonal."""
    down = _goes_down(furthest, diagonal, changes)
    return furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1


def _goes_down(furthest: dict[int, int], diagonal: int, changes: int) -> bool:
    """Whether it comes from the diagonal above, by a word of `right`; else from below, by one of `left`."""
    if diagonal in (-changes, changes):
        return diagonal == -changes
    return furthest[diagonal - 1] < furthest[diagonal + 1]


def _path(before: Sequence[dict[int, int]], x: int, y: int) -> Iterator[tuple[int, int]]:
    """The pairs of equal places on the way back from the end."""
    for changes in range(len(before) - 1, -1, -1):
        furthest, diagonal = before[changes], x - y
        start = _step(furthest, diagonal, changes)
        while x > start:
            x, y = x - 1, y - 1
            yield x, y
        if _goes_down(furthest, diagonal, changes):
            y -= 1
        else:
            x -= 1
