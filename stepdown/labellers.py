"""Who labels: the names that labels carry, by kind.

Invariant: a labeller's name begins with its kind, so what a label is worth can be told from the label alone.
A check or a person is *trusted*: their verdict counts as the truth. A judge's verdict and what a user did
with an answer are evidence, whose error is measured against the trusted.
"""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    """Kinds of labeller."""

    CHECK = "check"
    PERSON = "person"
    FEEDBACK = "feedback"
    JUDGE = "judge"


TRUSTED = frozenset({Kind.CHECK, Kind.PERSON})


def labeller_name(kind: Kind, name: str) -> str:
    """The name that labels carry: `judge:helpful`."""
    return f"{kind}:{name}"


def kind_of(labeller: str) -> Kind:
    """The kind of a labeller, from the name that its labels carry.

    Raises:
        ValueError: The name has no known kind.
    """
    return Kind(labeller.partition(":")[0])
