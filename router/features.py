"""What the router sees of a prompt: hashed 1-2-grams of tokens and a vector of structure.

Invariant: the same function serves the hot path and the fitting, and its result depends on the prompt
alone. It knows nothing of weights, labels or tasks. A token is a word or a single mark. All of it is
vectorised over bytes: a token's hash is a difference of two prefix sums of a polynomial in an odd base
(odd, so invertible modulo 2^64), so no loop and no dictionary runs over the tokens of a prompt.
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
    "tokens",
    "numbers",
    "longest_number",
    "token_length",
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
        buckets: Distinct hash buckets of its tokens and pairs of neighbours, ascending, each below `BUCKETS`.
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


def _class_of_byte() -> NDArray[np.intp]:
    """The place of each byte's class in `BYTE_CLASSES`, or one past the last."""
    place = np.full(256, len(BYTE_CLASSES), dtype=np.intp)
    for i, members in enumerate(BYTE_CLASSES.values()):
        place[list(members)] = i
    return place


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
_CLASS = _class_of_byte()
_SPACE, _WORD, _MARK = 0, 1, 2
_KIND = np.array(
    [_SPACE if b <= 32 else _WORD if b >= 128 or chr(b).isalnum() or b == 95 else _MARK for b in range(256)],
    dtype=np.uint8,
)
_IS_DIGIT = np.array([48 <= b <= 57 for b in range(256)])
_PAIR_LEFT, _PAIR_RIGHT = np.uint64(0x9FB21C651E98DF25), np.uint64(0xC2B2AE3D27D4EB4F)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_OPTIONS = (("\nB)", "\nD)"), ("\nB.", "\nD."), ("(B)", "(D)"))
_FOLD, _TOP = np.uint64(33), np.uint64(64 - BUCKET_BITS)


def featurize(prompt: Prompt) -> Features:
    """The features of a prompt; its cost is bounded, however long the prompt is."""
    text = _capped(prompt)
    raw = _bytes(text)
    hashes = _hashes(raw if text.isascii() else _bytes(text.lower()))
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


def _tokens(raw: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts and ends of the words and of every mark that is neither word nor space."""
    kind = _KIND.take(raw)
    cut = np.empty(len(raw) + 1, dtype=np.bool_)
    cut[0] = cut[-1] = True
    np.not_equal(kind[1:], kind[:-1], out=cut[1:-1])
    cut[:-1] |= kind == _MARK
    places = cut.nonzero()[0]
    token = kind.take(places[:-1]) != _SPACE
    return places[:-1][token], places[1:][token]


def _hashes(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A hash for each token, in order: the same token has the same hash wherever it stands."""
    if len(raw) == 0:
        return np.empty(0, np.uint64)
    starts, ends = _tokens(raw)
    prefix = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(_VALUE.take(raw) * _POWER[: len(raw)], out=prefix[1:])
    return (prefix.take(ends) - prefix.take(starts)) * _INVERSE.take(starts)


def _buckets(tokens: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """Distinct buckets of tokens and pairs of neighbours, with their counts."""
    pairs = tokens[:-1] * _PAIR_LEFT + tokens[1:] * _PAIR_RIGHT
    hashes = np.concatenate((tokens, pairs))
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


def _structure(prompt: Prompt, text: str, raw: NDArray[np.uint8], tokens: int) -> NDArray[np.float64]:
    starts, ends = _runs(_IS_DIGIT.take(raw))
    longest = int((ends - starts).max()) if len(starts) else 0
    others = (
        tokens,
        len(starts),
        min(longest, 20),
        len(raw) / (tokens + 1),
        len(prompt.user),
        len(prompt.history),
        len(prompt.system),
        prompt.messages,
        text.count("```"),
        _options(text),
        "json" in prompt.needs,
        min(max(prompt.max_tokens or 0, 0), 10**9),
    )
    values = np.empty(len(STRUCTURE))
    classes = len(BYTE_CLASSES)
    values[:classes] = np.bincount(_CLASS.take(raw), minlength=classes + 1)[:classes]
    values[classes:-1] = others
    np.log1p(values[:-1], out=values[:-1])
    values[-1] = 0.0 if prompt.max_tokens else 1.0
    return values


def _options(text: str) -> int:
    """Whether the text lists lettered options, A) or A. or (A): 1 for two or three, 2 for four."""
    for second, fourth in _OPTIONS:
        if second in text:
            return 2 if fourth in text else 1
    return 0
