"""What the router sees of a prompt: hashed word 1-2-grams and a vector of structure.

Invariant: the same function serves the hot path and the fitting, and its result depends on the prompt
alone. It knows nothing of weights, labels or tasks. All of it is vectorised over bytes: a word's hash is
a difference of two prefix sums of a polynomial in an odd base (odd, so invertible modulo 2^64), so no
loop and no dictionary runs over the words of a prompt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.prompt import Prompt

FEATURES_VERSION = 1
BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS

USER_HEAD, USER_TAIL = 4096, 2048
HISTORY_TAIL, SYSTEM_HEAD = 1024, 1024
MAX_BYTES = 16_384

# Bytes counted together; each is a structure feature, as log(1 + count).
BYTE_CLASSES: dict[str, bytes] = {
    "upper": bytes(range(65, 91)),
    "lower": bytes(range(97, 123)),
    "digits": b"0123456789",
    "spaces": b" \t",
    "lines": b"\n",
    "questions": b"?",
    "stops": b".!;",
    "commas": b",",
    "colons": b":",
    "quotes": b"\"'`",
    "parentheses": b"()",
    "brackets": b"[]",
    "braces": b"{}",
    "operators": b"+-*/=<>^%|&~",
    "backslashes": b"\\",
    "money": b"$",
    "underscores": b"_#@",
    "non_ascii": bytes(range(128, 256)),
}
STRUCTURE: tuple[str, ...] = (
    *BYTE_CLASSES,
    "words",
    "numbers",
    "longest_number",
    "word_length",
    "user_chars",
    "history_chars",
    "system_chars",
    "messages",
    "code_fences",
    "options",
    "needs_json",
    "max_tokens",
    "no_max_tokens",
)


class Features(NamedTuple):
    """The features of one prompt.

    Attributes:
        buckets: Distinct hash buckets of its words and word pairs, ascending, each below `BUCKETS`.
        weights: 1 + ln(count) of each bucket.
        structure: One finite number for each name in `STRUCTURE`.
    """

    buckets: NDArray[np.uint16]
    weights: NDArray[np.float64]
    structure: NDArray[np.float64]


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers, power = [], 1
    for _ in range(count):
        powers.append(power)
        power = power * base % (1 << 64)
    return np.array(powers, dtype=np.uint64)


def _class_matrix() -> NDArray[np.float64]:
    matrix = np.zeros((256, len(BYTE_CLASSES)))
    for column, members in enumerate(BYTE_CLASSES.values()):
        matrix[list(members), column] = 1.0
    return matrix


def _byte_values() -> NDArray[np.uint64]:
    """A 64-bit value for each byte, case of ASCII letters ignored, from the splitmix64 generator."""
    values = []
    for byte in range(256):
        z = ((byte + 32 if 65 <= byte <= 90 else byte) + 1) * 0x9E3779B97F4A7C15 % (1 << 64)
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
        values.append(z ^ (z >> 31))
    return np.array(values, dtype=np.uint64)


_BASE = 0xD1342543DE82EF95
_POWER = _powers(_BASE, MAX_BYTES)
_INVERSE = _powers(pow(_BASE, -1, 1 << 64), MAX_BYTES)
_VALUE = _byte_values()
_CLASS = _class_matrix()
_IS_WORD = np.array([b >= 128 or chr(b).isalnum() or b == 95 for b in range(256)])
_IS_DIGIT = np.array([48 <= b <= 57 for b in range(256)])
_PAIR_LEFT, _PAIR_RIGHT = np.uint64(0x9FB21C651E98DF25), np.uint64(0xC2B2AE3D27D4EB4F)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_OPTIONS = ("\nA)", "\nB)", "\nC)", "\nD)", "\nA.", "\nB.", "\nC.", "\nD.", "(A)", "(B)", "(C)", "(D)")
_FOLD, _TOP = np.uint64(33), np.uint64(64 - BUCKET_BITS)


def featurize(prompt: Prompt) -> Features:
    """The features of a prompt; its cost is bounded, however long the prompt is."""
    text = _capped(prompt)
    raw = _bytes(text)
    hashes = _word_hashes(raw if text.isascii() else _bytes(text.lower()))
    buckets, counts = _buckets(hashes)
    return Features(buckets, 1.0 + np.log(counts), _structure(prompt, text, raw, len(hashes)))


def _capped(prompt: Prompt) -> str:
    """The text that counts: the ends of the last message, the recent past, the head of the rules."""
    user = prompt.user
    if len(user) > USER_HEAD + USER_TAIL:
        user = user[:USER_HEAD] + "\n" + user[-USER_TAIL:]
    if not (prompt.system or prompt.history):
        return user
    return f"{prompt.system[:SYSTEM_HEAD]}\n{prompt.history[-HISTORY_TAIL:]}\n{user}"


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass")[:MAX_BYTES], dtype=np.uint8)


def _runs(member: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts and ends of the runs of True."""
    edge = np.empty(len(member) + 1, dtype=np.bool_)
    if len(member) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    edge[0], edge[-1] = member[0], member[-1]
    np.not_equal(member[1:], member[:-1], out=edge[1:-1])
    places = edge.nonzero()[0]
    return places[::2], places[1::2]


def _word_hashes(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A hash for each word, in order: the same word has the same hash wherever it stands."""
    starts, ends = _runs(_IS_WORD[raw])
    prefix = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(_VALUE[raw] * _POWER[: len(raw)], out=prefix[1:])
    return (prefix[ends] - prefix[starts]) * _INVERSE[starts]


def _buckets(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """Distinct buckets of words and pairs of neighbours, with their counts."""
    pairs = words[:-1] * _PAIR_LEFT + words[1:] * _PAIR_RIGHT
    hashes = np.concatenate((words, pairs))
    hashes ^= hashes >> _FOLD
    hashes *= _MIX
    buckets = (hashes >> _TOP).astype(np.uint16)
    if len(buckets) == 0:
        return buckets, np.empty(0, np.intp)
    buckets.sort()
    first = np.empty(len(buckets) + 1, dtype=np.bool_)
    first[0] = first[-1] = True
    np.not_equal(buckets[1:], buckets[:-1], out=first[1:-1])
    places = first.nonzero()[0]
    return buckets[places[:-1]], np.diff(places)


def _structure(prompt: Prompt, text: str, raw: NDArray[np.uint8], words: int) -> NDArray[np.float64]:
    starts, ends = _runs(_IS_DIGIT[raw])
    longest = int((ends - starts).max()) if len(starts) else 0
    others = (
        words,
        len(starts),
        min(longest, 20),
        len(raw) / (words + 1),
        len(prompt.user),
        len(prompt.history),
        len(prompt.system),
        prompt.messages,
        text.count("```"),
        _options(text),
        "json" in prompt.needs,
        max(prompt.max_tokens or 0, 0),
    )
    values = np.empty(len(STRUCTURE))
    classes = len(BYTE_CLASSES)
    values[:classes] = np.bincount(raw, minlength=256) @ _CLASS
    values[classes:-1] = others
    np.log1p(values[:-1], out=values[:-1])
    values[-1] = 0.0 if prompt.max_tokens else 1.0
    return values


def _options(text: str) -> int:
    """How many lettered options the text lists: A) B) or A. B. at the start of a line."""
    return sum(mark in text for mark in _OPTIONS)
