"""How far each labeller of a task can be trusted: its error beside people and checks, and contradictions.

Invariant: a labeller is never measured against itself, and only on calls that were not picked because they
were interesting: those that checks label, and people's of the audit sample. Whatever is listed is bounded in
length and counted in full.

Judges and users are measured against the trusted verdict, checks against people, and a person against the
checks and against the majority of the other people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from evals.metrics.agreement import Agreement, agreement, kappa, krippendorff_alpha
from evals.metrics.intervals import Estimate
from evals.order_bias import order_lines
from evals.outcomes import Outcomes, labels_of, read_outcomes
from evals.suspects import Suspects, suspects
from evals.verdicts import Said, check_verdict, newest_labels, of_kind, people_verdict
from stepdown.labellers import Kind, kind_of
from stepdown.ledger import Ledger
from stepdown.records import Verdict
from stepdown.settings import TaskSettings

CONFIDENCE = 0.95
LISTED = 20
PEOPLE, CHECKS, TRUTH = "people", "checks", "trusted"
OTHERS = "others"
SCORED = {Verdict.GOOD.value: True, Verdict.BAD.value: False}


@dataclass(frozen=True, slots=True)
class LabellerLine:
    """One labeller beside those who are trusted.

    Attributes:
        against: Whom it is measured against, in words.
        labels: Calls that it labelled good or bad, by its newest label.
        unscored: Calls that it failed to label.
        agreement: On the calls that both labelled.
    """

    labeller: str
    against: str
    labels: int
    unscored: int
    agreement: Agreement


class PeoplePair(NamedTuple):
    """Two people's Cohen's kappa on the answers that both labelled."""

    first: str
    second: str
    kappa: Estimate


class Contradiction(NamedTuple):
    """An answer that is good to one trusted labeller and bad to another."""

    request: str
    call: str
    tier: str
    good: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabellerErrors:
    """All that is known of a task's labellers.

    Attributes:
        people: Krippendorff's alpha of all people, over answers that two or more labelled.
        pairs: Each two people's kappa.
        contradictions: The first `LISTED`, newest first; `contradicted` counts them all.
        presumed: Tiers in which the worth of judges and users had to be presumed, for want of trusted labels.
        suspects: References that both models contradict.
        left_out: Whose labels count for nothing, and why, in words.
    """

    task: str
    lines: tuple[LabellerLine, ...]
    people: Estimate
    pairs: tuple[PeoplePair, ...]
    contradictions: tuple[Contradiction, ...]
    contradicted: int
    presumed: tuple[str, ...]
    suspects: Suspects
    left_out: tuple[str, ...] = ()


def labeller_errors(
    ledger: Ledger, task_name: str, task: TaskSettings, outcomes: Outcomes | None = None
) -> LabellerErrors:
    """Measure the labellers of a task.

    Args:
        ledger: Where labels are.
        task_name: The task.
        task: Its settings.
        outcomes: Of the task, where they were read already.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    read = outcomes or read_outcomes(ledger, task_name, audit_share=task.audit_share)
    calls = _with_prompts(read)
    kept = set(calls.index)
    said = {call: of for call, of in newest_labels(labels_of(ledger, task_name)).items() if call in kept}
    contradictions = sorted(_contradictions(said, calls), key=lambda one: one.call, reverse=True)
    return LabellerErrors(
        task=task_name,
        lines=tuple(_lines(said, calls)),
        people=_alpha(said, calls),
        pairs=tuple(_people_pairs(said, calls)),
        contradictions=tuple(contradictions[:LISTED]),
        contradicted=len(contradictions),
        presumed=tuple(sorted(tier for tier, fused in read.fused.items() if not fused.identified)),
        suspects=suspects(ledger, task_name, task, said, read),
        left_out=order_lines(read.by_order),
    )


def _with_prompts(outcomes: Outcomes) -> pd.DataFrame:
    """The calls by id, with what a measurement needs to know of each."""
    requests = outcomes.requests.set_index("id")
    calls = outcomes.calls
    return pd.DataFrame(
        {
            "request": calls["request"].to_numpy(),
            "tier": calls["tier"].to_numpy(),
            "prompt_hash": calls["request"].map(requests["prompt_hash"]).to_numpy(),
            "audit": calls["request"].map(requests["audit"]).to_numpy(dtype=bool),
            "representative": calls["representative"].to_numpy(dtype=bool),
            "good": calls["good"].to_numpy(dtype=float),
        },
        index=calls["id"].to_numpy(),
    )


Truth = Callable[[str, Said], bool | None]


class _Against(NamedTuple):
    """Something to be measured against: its name, and its verdict on a call, or None."""

    name: str
    truth: Truth


def _lines(said: Mapping[str, Said], calls: pd.DataFrame) -> Iterator[LabellerLine]:
    for labeller in sorted({name for of_call in said.values() for name in of_call}):
        verdicts = Counter(of[labeller].verdict for of in said.values() if labeller in of)
        unscored = verdicts[Verdict.UNSCORED]
        for against in _yardsticks(labeller, calls):
            found = _measured(labeller, against.truth, said, calls)
            yield LabellerLine(labeller, against.name, verdicts.total() - unscored, unscored, found)


def _yardsticks(labeller: str, calls: pd.DataFrame) -> tuple[_Against, ...]:
    audit, known = calls["audit"].to_dict(), calls.loc[calls["representative"], "good"].to_dict()

    def of_checks(_: str, said: Said) -> bool | None:
        return SCORED.get(check_verdict(said) or "")

    def of_people(call: str, said: Said) -> bool | None:
        return SCORED.get(people_verdict(said) or "") if audit[call] else None

    def of_others(_: str, said: Said) -> bool | None:
        others = {name: label for name, label in said.items() if name != labeller}
        return SCORED.get(people_verdict(others) or "")

    def of_trusted(call: str, _: Said) -> bool | None:
        return bool(known[call]) if call in known else None

    kind = kind_of(labeller)
    if kind is Kind.PERSON:
        return _Against(CHECKS, of_checks), _Against(OTHERS, of_others)
    return (_Against(PEOPLE, of_people),) if kind is Kind.CHECK else (_Against(TRUTH, of_trusted),)


def _measured(labeller: str, truth: Truth, said: Mapping[str, Said], calls: pd.DataFrame) -> Agreement:
    rows = [
        (call, known, SCORED[of[labeller].verdict])
        for call, of in said.items()
        if labeller in of and of[labeller].verdict in SCORED and (known := truth(call, of)) is not None
    ]
    groups = calls["prompt_hash"].loc[[call for call, _, _ in rows]].to_numpy(str)
    return agreement(
        [known for _, known, _ in rows], [good for _, _, good in rows], groups=groups, confidence=CONFIDENCE
    )


def _people(said: Said) -> dict[str, bool]:
    people = of_kind(said, Kind.PERSON)
    return {label.labeller: SCORED[label.verdict] for label in people if label.verdict in SCORED}


def _alpha(said: Mapping[str, Said], calls: pd.DataFrame) -> Estimate:
    people = {call: found for call, of in said.items() if (found := _people(of))}
    return krippendorff_alpha(
        [sum(found.values()) for found in people.values()],
        [len(found) for found in people.values()],
        groups=calls["prompt_hash"].loc[list(people)].to_numpy(str),
        confidence=CONFIDENCE,
    )


def _people_pairs(said: Mapping[str, Said], calls: pd.DataFrame) -> Iterator[PeoplePair]:
    people = {call: _people(of) for call, of in said.items()}
    names = sorted({name for found in people.values() for name in found})
    for first, second in combinations(names, 2):
        both = [call for call, found in people.items() if first in found and second in found]
        if both:
            groups = calls["prompt_hash"].loc[both].to_numpy(str)
            one, other = ([people[call][name] for call in both] for name in (first, second))
            yield PeoplePair(first, second, kappa(one, other, groups=groups, confidence=CONFIDENCE))


def _contradictions(said: Mapping[str, Said], calls: pd.DataFrame) -> Iterator[Contradiction]:
    """Calls on which people contradict one another, or the checks."""
    requests, tiers = calls["request"].to_dict(), calls["tier"].to_dict()
    for call, of_call in said.items():
        by_person = _people(of_call)
        joint = SCORED.get(check_verdict(of_call) or "")
        sides = dict(by_person)
        if by_person and joint is not None:
            sides |= dict.fromkeys(_deciding(of_call, joint), joint)
        good, bad = (_named(sides, wanted) for wanted in (True, False))
        if good and bad:
            yield Contradiction(requests[call], call, str(tiers[call]), good, bad)


def _deciding(said: Said, joint: bool) -> Iterable[str]:
    """The checks that made the joint verdict what it is."""
    return [label.labeller for label in of_kind(said, Kind.CHECK) if SCORED.get(label.verdict) is joint]


def _named(sides: Mapping[str, bool], wanted: bool) -> tuple[str, ...]:
    return tuple(sorted(name for name, good in sides.items() if good is wanted))
