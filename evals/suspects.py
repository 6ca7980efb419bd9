"""References that may be wrong: those that both models contradict.

A reference is contradicted where the same check calls both models' answers bad, and suspect where, beside
that, both answer the same (as the check reads them), or judges or people call both good. What is contradicted
is listed for a person to look at, the suspect first; no label is changed by it.

Invariant: one reference is listed once, however often its prompt was asked; the list is bounded, and so is
the number of answers read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select

from evals.checks import Check, build_check
from evals.outcomes import Outcomes
from evals.picking.answered import answered
from evals.verdicts import GOOD_FROM, Said, people_verdict
from router.wire import read_answer
from stepdown.errors import CheckError, LedgerError
from stepdown.labellers import Kind, kind_of
from stepdown.ledger import Ledger, schema
from stepdown.ledger.bodies import decompress
from stepdown.records import Role, Tier, Verdict
from stepdown.settings import TaskSettings

LISTED = 20
LOOKED_AT = 500
CHUNK = 500
SHOWN_CHARS = 300
SAME, THOUGHT_GOOD = "both models answer the same", "judges or people call both answers good"
APART = "each model contradicts it in its own way"


class Suspect(NamedTuple):
    """A reference that may be wrong.

    Attributes:
        request: The newest request with it.
        check: The check that calls both answers bad.
        reference: JSON text.
        strong: The end of strong's answer; likewise `small`.
        why: What speaks against the reference.
    """

    request: str
    check: str
    reference: str
    strong: str
    small: str
    why: str


@dataclass(frozen=True, slots=True)
class Suspects:
    """What was found.

    Attributes:
        listed: The first `LISTED`, the suspect before the merely contradicted, newest first.
        found: How many are suspect.
        looked_at: How many are contradicted, of which at most `LOOKED_AT` are read.
    """

    listed: tuple[Suspect, ...] = ()
    found: int = 0
    looked_at: int = 0


class _Candidate(NamedTuple):
    request: str
    check: str
    strong_call: str
    small_call: str
    thought_good: bool


def suspects(
    ledger: Ledger, task_name: str, task: TaskSettings, said: Mapping[str, Said], outcomes: Outcomes
) -> Suspects:
    """The task's contradicted references, the suspect first."""
    candidates = list(_candidates(said, outcomes))[:LOOKED_AT]
    if not candidates:
        return Suspects()
    answers = _answers(ledger, {call for one in candidates for call in (one.strong_call, one.small_call)})
    references = _references(ledger, task_name, [one.request for one in candidates])
    checks = _checks(task)
    known = [one for one in candidates if one.request in references]
    read = [_suspect(one, references[one.request], answers, checks.get(one.check)) for one in known]
    found = sum(suspect.why != APART for suspect in read)
    return Suspects(tuple(sorted(read, key=lambda one: one.why == APART)[:LISTED]), found, len(candidates))


def _candidates(said: Mapping[str, Said], outcomes: Outcomes) -> Iterator[_Candidate]:
    """Requests whose both answers one check calls bad, newest first, each prompt once."""
    calls = outcomes.calls
    usable = calls[calls["ok"] & calls["role"].isin((Role.LIVE, Role.SHADOW))]
    last = usable.drop_duplicates(["request", "tier"], keep="last")
    by_tier = {tier: last[last["tier"] == tier].set_index("request")["id"].to_dict() for tier in Tier}
    seen: set[str] = set()
    requests = outcomes.requests
    newest_first = zip(requests["id"].tolist()[::-1], requests["prompt_hash"].tolist()[::-1], strict=True)
    for request, prompt in newest_first:
        strong, small = (by_tier[tier].get(request) for tier in (Tier.STRONG, Tier.SMALL))
        if strong is None or small is None or prompt in seen:
            continue
        of_both = said.get(strong, {}), said.get(small, {})
        check = next(iter(sorted(_bad_checks(of_both[0]) & _bad_checks(of_both[1]))), None)
        if check is not None:
            seen.add(prompt)
            good = all(_thought_good(of_call) for of_call in of_both)
            yield _Candidate(request, check, strong, small, good)


def _bad_checks(said: Said) -> set[str]:
    return {
        name for name, label in said.items() if kind_of(name) is Kind.CHECK and label.verdict == Verdict.BAD
    }


def _thought_good(said: Said) -> bool:
    """Whether people, or where there are none most judges, call an answer good."""
    if people := people_verdict(said):
        return people == Verdict.GOOD
    judged = [label.verdict == Verdict.GOOD for name, label in said.items() if kind_of(name) is Kind.JUDGE]
    return bool(judged) and sum(judged) / len(judged) > GOOD_FROM


def _suspect(one: _Candidate, reference: str, answers: Mapping[str, str], check: Check | None) -> Suspect:
    strong, small = answers.get(one.strong_call), answers.get(one.small_call)
    why = [THOUGHT_GOOD] if one.thought_good else []
    if strong is not None and small is not None and _same(check, strong, small):
        why.insert(0, SAME)
    shown = (_end(strong), _end(small))
    return Suspect(one.request, one.check, reference, *shown, " and ".join(why) or APART)


def _same(check: Check | None, strong: str, small: str) -> bool:
    try:
        keys = [answered(check, text) for text in (strong, small)]
    except Exception:  # a check may be anybody's code, and here only helps to find what to look at
        return False
    return keys[0] is not None and keys[0] == keys[1]


def _checks(task: TaskSettings) -> dict[str, Check]:
    """The task's checks by the name that their labels carry, without those that are misconfigured."""
    built = {}
    for name, settings in task.checks.items():
        try:
            built[f"{Kind.CHECK}:{name}"] = build_check(name, settings, task.checks)
        except CheckError:
            continue  # its labels say so
    return built


def _answers(ledger: Ledger, calls: Iterable[str]) -> dict[str, str]:
    """The texts of calls' answers; what cannot be read is not there."""
    table, bodies = schema.calls, schema.bodies
    joined = table.join(bodies, bodies.c.digest == table.c.body)
    texts = {}
    for chunk in _chunks(sorted(calls)):
        query = select(table.c.id, bodies.c.digest, bodies.c.content).select_from(joined)
        for row in ledger.rows(query.where(table.c.id.in_(chunk))):
            try:
                texts[row.id] = read_answer(decompress(row.digest, row.content)).text
            except LedgerError:
                continue  # corrupt: nothing to compare
    return texts


def _references(ledger: Ledger, task_name: str, requests: list[str]) -> dict[str, str]:
    """The references of requests, their own or the answer file's."""
    r, a = schema.requests, schema.answers
    joined = r.outerjoin(a, and_(a.c.task == r.c.task, a.c.prompt_hash == r.c.prompt_hash))
    reference = func.coalesce(r.c.reference, a.c.reference)
    found: dict[str, str] = {}
    for chunk in _chunks(requests):
        query = select(r.c.id, reference).select_from(joined)
        rows: list[Any] = list(ledger.rows(query.where(r.c.task == task_name, r.c.id.in_(chunk))))
        found |= {name: text for name, text in rows if text is not None}
    return found


def _chunks(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), CHUNK):
        yield names[start : start + CHUNK]


def _end(text: str | None) -> str:
    """The end of an answer, where what it comes to usually is."""
    if text is None:
        return "(no longer kept)"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else f"…{line[-SHOWN_CHARS:]}"
