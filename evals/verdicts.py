"""What a call's verdict is, from all its labels: people before checks, checks before what is only evidence.

Invariant: a trusted verdict never depends on a judge or on a user, and a labeller speaks by its newest label
alone. Pure: labels in, verdicts out; the module does not know where labels come from.

1. People who labelled the call: the majority, each by their newest label; a tie is unscored.
2. Else its checks: good where every check says good, bad where one says bad, unscored where one failed to
   label, whatever the others say: to keep such calls only where another check found them bad would tilt the
   sample.
3. Else the probability that judges and users make likely, fused by `evals.metrics.fusion` within each tier (a
   judge may err more on one model's answers than on the other's) and anchored on the calls of rules 1 and 2.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from evals.metrics.fusion import Fused, Vote, fuse
from stepdown.labellers import TRUSTED, Kind, kind_of
from stepdown.records import Verdict

GOOD_FROM = 0.5
LEAST_WEIGHT = 0.05


class LabelRow(NamedTuple):
    """One label, as far as verdicts need it."""

    subject: str
    labeller: str
    version: str
    at: datetime
    verdict: str
    score: float | None = None
    cost_usd_micros: int = 0


class Standing(NamedTuple):
    """What is held of one call.

    Attributes:
        verdict: good, bad or unscored.
        good: 1 or 0 by a trusted verdict, else the fused probability; NaN where unscored.
        source: Whose verdict it is: person, check, or judge for all that is only evidence.
        trusted: Whether it is a person's or a check's, and scored.
        checked: Whether the checks gave a verdict of their own.
        judged: Fused probability by judges and users alone, NaN where none of them labelled it.
        ruled: Whether a judge gave a verdict, scored.
    """

    verdict: str
    good: float
    source: Kind
    trusted: bool
    checked: bool
    judged: float
    ruled: bool


class Verdicts(NamedTuple):
    """All calls' standings, and how the evidence was fused in each tier."""

    by_call: Mapping[str, Standing]
    fused: Mapping[str, Fused]


Said = Mapping[str, LabelRow]


def newest_labels(labels: Iterable[LabelRow]) -> dict[str, dict[str, LabelRow]]:
    """The newest label of each labeller, by call."""
    newest: dict[str, dict[str, LabelRow]] = defaultdict(dict)
    for label in labels:
        if not _has_kind(label.labeller):
            continue  # of a version that knows more kinds
        of_call = newest[label.subject]
        before = of_call.get(label.labeller)
        if before is None or _age(before) < _age(label):
            of_call[label.labeller] = label
    return dict(newest)


def verdicts(labels: Iterable[LabelRow], tiers: Mapping[str, str]) -> Verdicts:
    """The verdict of every call that has a label.

    Args:
        labels: Of all calls of a task, in any order.
        tiers: The tier of each call.
    """
    said = newest_labels(labels)
    trusted = {call: found for call, of_call in said.items() if (found := trusted_verdict(of_call))}
    fused = _fused(said, trusted, tiers)
    by_call = {
        call: _standing(of_call, trusted.get(call), fused.get(tiers.get(call, "")))
        for call, of_call in said.items()
    }
    return Verdicts(by_call, fused)


class Trusted(NamedTuple):
    """A verdict of people or checks; `verdict` may be unscored."""

    verdict: str
    source: Kind


def trusted_verdict(said: Said) -> Trusted | None:
    """By rules 1 and 2; None where neither a person nor a check labelled the call."""
    if people := people_verdict(said):
        return Trusted(people, Kind.PERSON)
    if checks := check_verdict(said):
        return Trusted(checks, Kind.CHECK)
    return None


def people_verdict(said: Said) -> str | None:
    """The majority of people; unscored where they tie, None where no person gave a verdict."""
    counts = Counter(
        label.verdict
        for label in of_kind(said, Kind.PERSON)
        if label.verdict != Verdict.UNSCORED  # who skipped has said nothing
    )
    if not counts:
        return None
    good, bad = counts[Verdict.GOOD], counts[Verdict.BAD]
    return (Verdict.UNSCORED if good == bad else Verdict.GOOD if good > bad else Verdict.BAD).value


def check_verdict(said: Said) -> str | None:
    """What all checks say together; None where none labelled."""
    found = {label.verdict for label in of_kind(said, Kind.CHECK)}
    if not found:
        return None
    if not found <= {Verdict.GOOD, Verdict.BAD}:
        return Verdict.UNSCORED.value
    return (Verdict.BAD if Verdict.BAD in found else Verdict.GOOD).value


def of_kind(said: Said, *kinds: Kind) -> list[LabelRow]:
    """The labels of some kinds of labeller."""
    return [label for name, label in said.items() if kind_of(name) in kinds]


def vote_of(label: LabelRow) -> Vote | None:
    """A label as a vote; what users did counts by its score: an edit that changes little speaks louder."""
    if label.verdict == Verdict.UNSCORED:
        return None
    good = label.verdict == Verdict.GOOD
    weight = 1.0
    if kind_of(label.labeller) is Kind.FEEDBACK and label.score is not None:
        weight = max(LEAST_WEIGHT, label.score if good else 1 - label.score)
    return Vote(label.subject, label.labeller, good, weight)


@cache
def _has_kind(labeller: str) -> bool:
    try:
        return bool(kind_of(labeller))
    except ValueError:
        return False


def _age(label: LabelRow) -> tuple[datetime, str, str]:
    return label.at, label.version, label.verdict


def _fused(
    said: Mapping[str, Said], trusted: Mapping[str, Trusted], tiers: Mapping[str, str]
) -> dict[str, Fused]:
    votes: dict[str, list[Vote]] = defaultdict(list)
    for call, of_call in said.items():
        for label in of_call.values():
            if kind_of(label.labeller) not in TRUSTED and (vote := vote_of(label)) is not None:
                votes[tiers.get(call, "")].append(vote)
    return {tier: fuse(of_tier, _known(of_tier, trusted)) for tier, of_tier in votes.items()}


def _known(votes: Sequence[Vote], trusted: Mapping[str, Trusted]) -> dict[str, bool]:
    found = {vote.subject: trusted[vote.subject].verdict for vote in votes if vote.subject in trusted}
    return {call: verdict == Verdict.GOOD for call, verdict in found.items() if verdict != Verdict.UNSCORED}


def _standing(said: Said, trusted: Trusted | None, fused: Fused | None) -> Standing:
    subject = next(iter(said.values())).subject
    judged = fused.judged.get(subject, math.nan) if fused is not None else math.nan
    checked = check_verdict(said) in (Verdict.GOOD, Verdict.BAD)
    ruled = any(label.verdict != Verdict.UNSCORED for label in of_kind(said, Kind.JUDGE))
    if trusted is not None:
        scored = trusted.verdict != Verdict.UNSCORED
        good = float(trusted.verdict == Verdict.GOOD) if scored else math.nan
        return Standing(trusted.verdict, good, trusted.source, scored, checked, judged, ruled)
    if math.isnan(judged):
        return Standing(Verdict.UNSCORED.value, math.nan, Kind.JUDGE, False, checked, judged, ruled)
    verdict = Verdict.GOOD if judged >= GOOD_FROM else Verdict.BAD
    return Standing(verdict.value, judged, Kind.JUDGE, False, checked, judged, ruled)
