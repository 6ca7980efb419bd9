"""From a sample of prompts to a task's slices, carrying on from yesterday's.

Invariant: the order of the prompts does not matter, and a cluster that shares most of its prompts with
one of yesterday's has its id, and its name unless its words are others. Pure; it knows nothing of
ledgers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from evals.slices.cluster import cluster
from evals.slices.matching import match, terms_changed
from evals.slices.model import OTHER_NAME, Named, Slice, SliceModel, nearest_centre
from evals.slices.naming import class_terms, name_all
from evals.slices.space import Floats, fit_space
from evals.slices.view import view_features, words
from router.features import Features
from router.prompt import Prompt

Labels = NDArray[np.intp]
NAMED_FROM = 150  # prompts of each slice that its words are counted in
CUTOFF_QUANTILE = 0.02
CUTOFF_SLACK = 0.75


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """One distinct prompt.

    Attributes:
        key: Its prompt hash.
        body: Digest of a body that holds it.
        prompt: What was asked.
    """

    key: str
    body: str
    prompt: Prompt


def fit_slices(
    sample: Sequence[SamplePrompt], *, seed: int, previous: SliceModel | None = None
) -> SliceModel:
    """Part prompts into slices, and name them.

    Args:
        sample: Distinct prompts.
        seed: Of the clustering.
        previous: Yesterday's slices.
    """
    ordered = sorted(sample, key=lambda item: item.key)
    features = [view_features(item.prompt) for item in ordered]
    asked = [i for i, f in enumerate(features) if len(f.buckets)]
    if not asked:
        return _nothing(previous)
    return _fit([ordered[i] for i in asked], [features[i] for i in asked], seed, previous)


def _nothing(previous: SliceModel | None) -> SliceModel:
    """No prompt says anything: no slices."""
    space = fit_space([], seed=0)
    gone = tuple(Named(s.id, s.name) for s in previous.slices) if previous else ()
    number = previous.next_number if previous else 1
    return SliceModel(space, np.zeros((0, space.axes.shape[1]), np.float16), (), number, gone)


def _fit(
    sample: Sequence[SamplePrompt], features: Sequence[Features], seed: int, previous: SliceModel | None
) -> SliceModel:
    space = fit_space(features, seed=seed)
    places = space.place(features)
    before = previous.assign(features) if previous and previous.slices else None
    centres = cluster(places.directions, seed=seed, before=before).centres.astype(np.float16)
    nearest, similarity = nearest_centre(places.directions, places.strengths, centres.astype(np.float64))
    order = np.argsort(-np.bincount(nearest, minlength=len(centres)), kind="stable")
    members = [np.flatnonzero(nearest == old) for old in order]
    known = _known(members, before, previous, len(sample))
    next_number = previous.next_number if previous else 1
    ids = _ids(known, next_number)
    terms = class_terms([_words(sample, rows) for rows in members])
    slices = tuple(
        Slice(
            id=ids[i],
            name=name,
            terms=terms[i],
            prompts=len(rows),
            medoid=sample[rows[similarity[rows].argmax()]].body,
            cutoff=_cutoff(similarity[rows]),
        )
        for i, (rows, name) in enumerate(zip(members, _names(terms, known), strict=True))
    )
    return SliceModel(space, centres[order], slices, _after(ids, next_number), _gone(previous, ids))


def _known(
    members: Sequence[Labels], before: Labels | None, previous: SliceModel | None, prompts: int
) -> list[Slice | None]:
    """For each cluster, yesterday's slice that it continues."""
    if before is None or previous is None:
        return [None] * len(members)
    labels = np.empty(prompts, dtype=np.intp)
    for i, rows in enumerate(members):
        labels[rows] = i
    found = match(labels, before, len(members), len(previous.slices))
    return [None if old is None else previous.slices[old] for old in found]


def _ids(known: Sequence[Slice | None], next_number: int) -> list[str]:
    fresh = count(next_number)
    return [old.id if old else f"s{next(fresh)}" for old in known]


def _after(ids: Sequence[str], next_number: int) -> int:
    return max([next_number, *(int(name[1:]) + 1 for name in ids)])


def _gone(previous: SliceModel | None, ids: Sequence[str]) -> tuple[Named, ...]:
    return tuple(Named(s.id, s.name) for s in previous.slices if s.id not in ids) if previous else ()


def _names(terms: Sequence[Sequence[str]], known: Sequence[Slice | None]) -> list[str]:
    """Yesterday's names where the words are much the same, new ones for the rest."""
    kept = [
        old.name if old is not None and not terms_changed(now, old.terms) else None
        for now, old in zip(terms, known, strict=True)
    ]
    unnamed = [now for now, name in zip(terms, kept, strict=True) if name is None]
    made = iter(name_all(unnamed, {OTHER_NAME, *(name for name in kept if name is not None)}))
    return [next(made) if name is None else name for name in kept]


def _words(sample: Sequence[SamplePrompt], rows: Labels) -> list[set[str]]:
    """The words of a slice's prompts; the sample is in the order of hashes, so its first are a fair draw."""
    return [words(sample[i].prompt) for i in rows[:NAMED_FROM]]


def _cutoff(similarity: Floats) -> float:
    """Below what similarity a prompt is too unlike the members to be one."""
    return round(CUTOFF_SLACK * float(np.quantile(similarity, CUTOFF_QUANTILE)), 4)
