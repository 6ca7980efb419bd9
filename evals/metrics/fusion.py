"""One probability from several labellers of unequal worth: Dawid and Skene's estimator (1979), two classes.

Each labeller has a chance of calling a good answer good (sensitivity) and a bad one bad (specificity);
these, the share of good answers, and each answer's probability of being good are found together by
expectation maximisation. Answers whose truth is known keep it and so anchor the rest. Beta priors smooth
the rates: they expect a labeller to be right more often than not, which a few dozen labels overrule.

Assumes that labellers err independently of one another, given the truth. Two that share a prejudice are
believed too much: what is fused is evidence and no truth, and nothing is certified on it unasked.

With hardly any truth known, and fewer than three labellers who label the same answers, the rates cannot be
told from the labels: they are then left at `PRESUMED`, and `Fused.identified` is false.
Deterministic, and pure: it does not know who labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.metrics.intervals import Floats

PRESUMED = 0.75
RIGHT, WRONG = 3.0, 1.5  # of the beta priors of the rates: as if seen right twice, wrong half a time
SHARE = 1.5  # of the beta prior of the share of good answers: as if half of one answer each way was seen
LEAST_KNOWN_OF_EACH = 5
LEAST_KNOWN = 30
LEAST_LABELLERS = 3
LEAST_SHARED = 20
TOLERANCE = 1e-9
MOST_ROUNDS = 1000
Ints = NDArray[np.intp]


class Vote(NamedTuple):
    """One labeller's word on one subject.

    Attributes:
        weight: How much of a vote it is, in (0, 1].
    """

    subject: str
    labeller: str
    good: bool
    weight: float = 1.0


class Rates(NamedTuple):
    """What a labeller is worth."""

    sensitivity: float
    specificity: float


class Fused(NamedTuple):
    """The labels, fused.

    Attributes:
        probability: That each subject is good, 0 or 1 where it is known.
        judged: That each subject with a vote is good, as its votes alone say, whatever is known of it.
        rates: Of each labeller.
        share: Share of good subjects.
        identified: Whether the rates could be told from the labels, or had to be presumed.
    """

    probability: Mapping[str, float]
    judged: Mapping[str, float]
    rates: Mapping[str, Rates]
    share: float
    identified: bool


def fuse(votes: Sequence[Vote], known: Mapping[str, bool]) -> Fused:
    """Fuse votes, anchored on what is known.

    Args:
        votes: At most one of each labeller on each subject.
        known: The truth of some subjects; those without a vote count towards nothing.
    """
    votes = sorted(votes)  # sums of floats depend on their order
    subjects = sorted({vote.subject for vote in votes})
    labellers = sorted({vote.labeller for vote in votes})
    if not subjects:
        return Fused({name: float(good) for name, good in known.items()}, {}, {}, 0.5, False)
    table = _table(votes, subjects, labellers)
    truth = np.array([float(known[name]) if name in known else np.nan for name in subjects])
    identified = _identified(table, truth)
    model = _estimated(table, truth) if identified else _presumed(len(labellers))
    judged = _posterior(table, model)
    by_votes = dict(zip(subjects, judged.tolist(), strict=True))
    fixed = {name: float(good) for name, good in known.items()}
    rates = zip(labellers, model.good_as_good.tolist(), model.bad_as_good.tolist(), strict=True)
    return Fused(
        probability={**by_votes, **fixed},
        judged=by_votes,
        rates={name: Rates(right, 1 - wrong) for name, right, wrong in rates},
        share=model.share,
        identified=identified,
    )


class _Table(NamedTuple):
    """The votes as places of subject and labeller, 1 for good, and weights."""

    subject: Ints
    labeller: Ints
    good: Floats
    weight: Floats
    subjects: int
    labellers: int


class _Model(NamedTuple):
    share: float
    good_as_good: Floats
    bad_as_good: Floats


def _table(votes: Sequence[Vote], subjects: Sequence[str], labellers: Sequence[str]) -> _Table:
    place = {name: i for i, name in enumerate(subjects)}
    number = {name: i for i, name in enumerate(labellers)}
    return _Table(
        np.array([place[vote.subject] for vote in votes], dtype=np.intp),
        np.array([number[vote.labeller] for vote in votes], dtype=np.intp),
        np.array([vote.good for vote in votes], dtype=np.float64),
        np.array([vote.weight for vote in votes], dtype=np.float64),
        len(subjects),
        len(labellers),
    )


def _identified(table: _Table, truth: Floats) -> bool:
    """Whether enough truth is known, or enough subjects have several labellers."""
    good, bad = int((truth == 1).sum()), int((truth == 0).sum())
    if min(good, bad) >= LEAST_KNOWN_OF_EACH or good + bad >= LEAST_KNOWN:
        return True
    several = np.bincount(table.subject, minlength=table.subjects) >= LEAST_LABELLERS
    return int(several.sum()) >= LEAST_SHARED


def _presumed(labellers: int) -> _Model:
    return _Model(0.5, np.full(labellers, PRESUMED), np.full(labellers, 1 - PRESUMED))


def _estimated(table: _Table, truth: Floats) -> _Model:
    """Maximum a posteriori by expectation maximisation, started from each subject's share of good votes."""
    fixed = ~np.isnan(truth)
    voted = np.bincount(table.subject, minlength=table.subjects)
    good = np.bincount(table.subject, table.good, minlength=table.subjects)
    p = np.where(fixed, truth, (good + 0.5) / (voted + 1))
    for _ in range(MOST_ROUNDS):
        model = _maximised(table, p)
        after = np.where(fixed, truth, _posterior(table, model))
        moved = float(np.abs(after - p).max())
        p = after
        if moved < TOLERANCE:
            break
    return _maximised(table, p)


def _maximised(table: _Table, p: Floats) -> _Model:
    """The modes of the rates and of the share, given how likely each subject is good."""
    of_good, of_bad = table.weight * p[table.subject], table.weight * (1 - p[table.subject])

    def summed(weights: Floats) -> Floats:
        return np.asarray(np.bincount(table.labeller, weights, minlength=table.labellers), dtype=np.float64)

    right, wrong = RIGHT - 1, WRONG - 1
    good_as_good = (summed(of_good * table.good) + right) / (summed(of_good) + right + wrong)
    bad_as_good = (summed(of_bad * table.good) + wrong) / (summed(of_bad) + right + wrong)
    share = (p.sum() + SHARE - 1) / (len(p) + 2 * SHARE - 2)
    # A rate of exactly 0 or 1 would make one vote outweigh all others.
    return _Model(float(share), np.clip(good_as_good, 0.01, 0.99), np.clip(bad_as_good, 0.01, 0.99))


def _posterior(table: _Table, model: _Model) -> Floats:
    """How likely each subject is good, by its votes."""
    says_good = np.log(model.good_as_good / model.bad_as_good)[table.labeller]
    says_bad = np.log((1 - model.good_as_good) / (1 - model.bad_as_good))[table.labeller]
    evidence = table.weight * np.where(table.good == 1, says_good, says_bad)
    logit = np.log(model.share / (1 - model.share))
    logit = logit + np.bincount(table.subject, evidence, minlength=table.subjects)
    return np.asarray(1 / (1 + np.exp(-logit)))
