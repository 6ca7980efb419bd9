"""Labels of one item's answers seen together: who contradicts whom, and whether enough people have spoken.

Pure: no I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from stepdown.labellers import Kind, labeller_name
from stepdown.records import Verdict

PERSON_PREFIX = labeller_name(Kind.PERSON, "")


class Vote(NamedTuple):
    """A label, as far as votes are counted."""

    subject: str
    labeller: str
    version: str
    at: datetime
    verdict: str


def newest(votes: Iterable[Vote]) -> list[Vote]:
    """The newest vote of each labeller on each call: a mind may be changed."""
    found: dict[tuple[str, str], Vote] = {}
    for vote in votes:
        key = (vote.subject, vote.labeller)
        found[key] = max(found.get(key, vote), vote, key=lambda v: (v.at, v.version))
    return list(found.values())


def contradict(votes: Iterable[Vote]) -> bool:
    """Whether some call is good to one labeller and bad to another; give the newest votes."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    for vote in votes:
        verdicts[vote.subject].add(vote.verdict)
    return any({Verdict.GOOD, Verdict.BAD} <= said for said in verdicts.values())


def by_people(votes: Iterable[Vote]) -> list[Vote]:
    """The votes of people who gave a verdict and did not skip."""
    return [v for v in votes if v.labeller.startswith(PERSON_PREFIX) and v.verdict != Verdict.UNSCORED]


def enough(votes: Iterable[Vote], annotators: int) -> bool:
    """Whether as many people have labelled an item as are asked, and one more where they contradict."""
    people = by_people(newest(votes))
    return len({vote.labeller for vote in people}) >= annotators + contradict(people)
