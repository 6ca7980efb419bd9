"""References that may be wrong themselves: every model contradicts them, and some with one voice. Pure.

Invariant: a reference that any model confirms is never suspected. What is listed is for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from evals.harness.form import Sample, Suspicion
from evals.harness.suite import Case, Suite

SHOWN_CHARS = 200
SAYS_WHAT_IT_READ = ("exact", "choice", "number")  # kinds of check whose evidence is what they read
READ_NOTHING = ("no number", "got '',", "named []")


def suspicions(
    suite: Suite, samples: Mapping[tuple[str, str], Sequence[Sample]], names: Sequence[str]
) -> Iterator[Suspicion]:
    """The references that all models contradict, in the order of the cases.

    Args:
        suite: The cases.
        samples: By contender and case; the first sample of each counts.
        names: One contender for each model.
    """
    for case in suite.cases:
        answers = {name: samples[name, case.id][0] for name in names}
        if len(answers) < 2 or case.reference is None or any(s.score != 0 for s in answers.values()):
            continue
        agreeing = _largest_agreement(suite, case, answers)
        agreeing = agreeing if len(agreeing) > 1 else []
        first = answers[agreeing[0] if agreeing else names[0]]
        yield Suspicion(
            case=case.id,
            line=case.line,
            reference=msgspec.json.encode(case.reference).decode()[:SHOWN_CHARS],
            agreeing=agreeing,
            answer=first.text[:SHOWN_CHARS],
            why=first.why,
        )


def _largest_agreement(suite: Suite, case: Case, answers: Mapping[str, Sample]) -> list[str]:
    said: dict[str, list[str]] = {}
    for name, sample in answers.items():
        if read := _read_as(suite, case, sample):
            said.setdefault(read, []).append(name)
    return max((sorted(names) for names in said.values()), key=len, default=[])


def _read_as(suite: Suite, case: Case, sample: Sample) -> str:
    """What an answer comes down to: as the check read it, where it says so, or else its words."""
    kind = suite.scoring["checks"][case.check].get("kind") if case.check else None
    if kind in SAYS_WHAT_IT_READ:
        return "" if sample.why.startswith(READ_NOTHING) else sample.why
    return " ".join(re.findall(r"\w+", sample.text.casefold()))
