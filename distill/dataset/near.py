"""Near duplicates: texts that share most of what is rare in them.

Texts are compared as sets of shingles of `SHINGLE` characters (Broder, "On the resemblance and containment of
documents", 1997), each weighed by how rare it is, so that two prompts from one template are alike only where
what fills it is. Similarity is the weighted Jaccard index. A shingle that more than `FORM_SHARE` of
the texts have is the form and not the query, and counts for nothing; of a long text the `SKETCH` shingles of
the lowest hashes stand for all (bottom-k sketch), so memory is bounded whatever the texts are.

Invariant: a text is its own near duplicate whatever its case and spacing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

NEAR = 0.5  # one or two words of a question changed, or added, leave it above that
SHINGLE = 6
SKETCH = 200
FORM_SHARE = 0.01
FORM_LEAST = 50  # fewer texts than that may well be one text with little changes
BACKGROUND = 100  # texts that are thought to be beside the given ones, so that few still have rare shingles
HEAD = TAIL = 6_000  # characters of a long text
BUCKET_BITS = 22
TEXTS_AT_ONCE = 1_000
ROWS_AT_ONCE = 256
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT, _TOP = np.uint64(33), np.uint64(64 - BUCKET_BITS)

Ints = NDArray[np.int64]


class _Entries(NamedTuple):
    """Which text has which shingle."""

    texts: Ints
    buckets: Ints


def similar_pairs(texts: Sequence[str], *, near: float = NEAR) -> list[tuple[int, int]]:
    """Pairs of indices of near duplicates, the smaller one first.

    Of texts that are equal but for case and space, each is paired with the next one only; with none, where
    there are so many that they can only be a form.

    Args:
        texts: Any number; 20,000 take seconds.
        near: Least similarity, in (0, 1].
    """
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        places.setdefault(folded(text), []).append(index)
    places.pop("", None)
    most = max(FORM_LEAST, FORM_SHARE * len(texts))
    pairs = [pair for same in places.values() if len(same) <= most for pair in pairwise(same)]
    firsts = [same[0] for same in places.values()]
    for i, j in _similar(list(places), near):
        one, other = sorted((firsts[i], firsts[j]))
        pairs.append((one, other))
    return sorted(pairs)


def folded(text: str) -> str:
    """The text as it is compared: case and space do not count, and a long one is its ends."""
    if len(text) > 4 * (HEAD + TAIL):
        text = text[: 2 * HEAD] + text[-2 * TAIL :]
    flat = " ".join(text.casefold().split())
    return flat if len(flat) <= HEAD + TAIL else flat[:HEAD] + flat[-TAIL:]


def _similar(texts: Sequence[str], near: float) -> Iterator[tuple[int, int]]:
    entries = _entries(texts)
    frequency = np.bincount(entries.buckets, minlength=1 << BUCKET_BITS)
    most = max(FORM_LEAST, FORM_SHARE * len(texts))
    entries = _sketched(_where(entries, frequency[entries.buckets] <= most))
    often = frequency[entries.buckets]
    weights = np.log((len(texts) + BACKGROUND) / often)
    totals = np.bincount(entries.texts, weights=weights, minlength=len(texts)).astype(np.float64)
    shared = often > 1  # the others count in the totals alone
    rows = csr_matrix(
        (np.sqrt(weights[shared]), (entries.texts[shared], entries.buckets[shared])),
        shape=(len(texts), 1 << BUCKET_BITS),
    )
    yield from _pairs(rows, totals, near)


def _pairs(rows: csr_matrix, totals: NDArray[np.float64], near: float) -> Iterator[tuple[int, int]]:
    columns = rows.T.tocsr()
    for start in range(0, rows.shape[0], ROWS_AT_ONCE):
        common = (rows[start : start + ROWS_AT_ONCE] @ columns).tocoo()
        left, right = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        once = left < right
        left, right, both = left[once], right[once], common.data[once]
        alike = both >= near * (totals[left] + totals[right] - both)
        yield from zip(left[alike].tolist(), right[alike].tolist(), strict=True)


def _where(entries: _Entries, mask: NDArray[np.bool_]) -> _Entries:
    return _Entries(entries.texts[mask], entries.buckets[mask])


def _entries(texts: Sequence[str]) -> _Entries:
    """Each text's distinct shingles, in the order of texts and then of hashes."""
    chunks = [
        _entries_of(texts[start : start + TEXTS_AT_ONCE], start)
        for start in range(0, len(texts), TEXTS_AT_ONCE)
    ]
    if not chunks:
        return _Entries(np.empty(0, np.int64), np.empty(0, np.int64))
    return _Entries(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def _entries_of(texts: Sequence[str], first: int) -> _Entries:
    padded = [" " * SHINGLE + text + " " * SHINGLE for text in texts]
    lengths = np.array([len(text) for text in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    hashes = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
    for place in range(SHINGLE):
        hashes = hashes * _MULTIPLIER + codes[place : place + len(hashes)]
    hashes ^= hashes >> _SHIFT
    hashes *= _MIX
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)[: len(hashes)]
    ends = np.repeat(np.cumsum(lengths), lengths)[: len(hashes)]
    within = np.arange(len(hashes)) + SHINGLE <= ends
    keys = np.sort((owner[within] << np.uint64(BUCKET_BITS)) | (hashes[within] >> _TOP))
    keys = keys[np.r_[True, keys[1:] != keys[:-1]]]  # faster than np.unique by two orders
    mask = np.uint64((1 << BUCKET_BITS) - 1)
    return _Entries((keys >> np.uint64(BUCKET_BITS)).astype(np.int64) + first, (keys & mask).astype(np.int64))


def _sketched(entries: _Entries) -> _Entries:
    """Of each text the shingles of the lowest hashes."""
    if len(entries.texts) == 0:
        return entries
    starts = np.flatnonzero(np.r_[True, entries.texts[1:] != entries.texts[:-1]])
    sizes = np.diff(np.r_[starts, len(entries.texts)])
    rank = np.arange(len(entries.texts)) - np.repeat(starts, sizes)
    return _where(entries, rank < SKETCH)
