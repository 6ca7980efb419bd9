"""Names for slices: the words that tell each from the others.

Class-based TF-IDF (Grootendorst, BERTopic, arXiv 2203.05794): a word counts by the share of a slice's
prompts that have it, times the log of how rare it is across slices. Invariant: names are unique, and no
word is in one that only a few prompts have, so that a name holds what prompts of a kind share and not
what one user wrote.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

TERMS = 10
IN_NAME = 3
MIN_SHARE = 0.15
MIN_PROMPTS = 3
SEPARATOR = " · "
UNNAMED = "unnamed"
_STOP_WORDS = ENGLISH_STOP_WORDS | frozenset(
    "please using use used just like does don't it's that's i'm i'd i've let's "
    "der die das und ist nicht ein eine für mit von den dem auf im zu sie wir ich wie "
    "le la les des une est et pour dans que qui sur avec pas vous nous je ce "
    "el los las una para con por del que es en un se lo su como "
    "il di che per una non della con sono o os as um uma não com para dos das".split()
)


def class_terms(slices: Sequence[Sequence[set[str]]]) -> list[tuple[str, ...]]:
    """The most telling words of each slice, at most `TERMS`, the most telling first.

    Args:
        slices: For each slice, the distinct words of each of its prompts (a sample will do).
    """
    shares = [_shares(prompts) for prompts in slices]
    every: Counter[str] = Counter()
    for of_slice in shares:
        every.update(of_slice)
    return [_telling(of_slice, every, len(slices)) for of_slice in shares]


def name_all(terms: Sequence[Sequence[str]], taken: Iterable[str] = ()) -> list[str]:
    """A name for each slice: its first words, and more of them where a name is taken."""
    used = set(taken)
    names = []
    for of_slice in terms:
        name = _unused(of_slice, used)
        used.add(name)
        names.append(name)
    return names


def _shares(prompts: Sequence[set[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for found in prompts:
        counts.update(found)
    least = min(MIN_PROMPTS, len(prompts))
    share: Counter[str] = Counter()
    for word, count in counts.items():
        if count >= least and word not in _STOP_WORDS:
            share[word] = count / len(prompts)  # type: ignore[assignment]
    return share


def _telling(shares: Counter[str], every: Counter[str], slices: int) -> tuple[str, ...]:
    def weight(word: str) -> float:
        rarity = math.log(slices / every[word]) if slices > 1 else 1.0
        return shares[word] * rarity

    ranked = sorted(shares, key=lambda word: (shares[word] < MIN_SHARE, -weight(word), word))
    return tuple(ranked[:TERMS])


def _unused(terms: Sequence[str], used: set[str]) -> str:
    for count in range(IN_NAME, max(len(terms), IN_NAME) + 1):
        name = SEPARATOR.join(terms[:count]) or UNNAMED
        if name not in used:
            return name
    name = SEPARATOR.join(terms[:IN_NAME]) or UNNAMED
    return next(full for i in range(2, len(used) + 3) if (full := f"{name} ({i})") not in used)
