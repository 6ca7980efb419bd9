"""From a ruling to labels in the ledger.

Invariant: the labels of one judgement are committed together, beside the last of its calls, and only while
the reference is still the one that the judge was shown. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from evals.checks.outcome import EVIDENCE_CHARS
from evals.judge.backlog import Item
from evals.judge.combine import Ruling
from evals.judge.judges import Judge
from stepdown.ids import now
from stepdown.ledger import Ledger, Record, schema
from stepdown.records import Label, Verdict

WORD = {1.0: "won against", 0.5: "tied with", 0.0: "lost against"}
IDENTICAL = Ruling((0.5, 0.5), 0, 0, "the answers are identical; no judge was asked")


def unscored(why: str) -> Ruling:
    """The ruling where there is none."""
    return Ruling(None, 0, 0, why)


def labels_of(judge: Judge, item: Item, ruling: Ruling, notes: Sequence[str] = ()) -> list[Label]:
    """The label of each subject.

    Args:
        judge: Whose labels.
        item: What was judged.
        ruling: What it came to.
        notes: What the judge did not get to see, for the evidence.
    """
    told = [*notes, *selfish(judge, item)]
    return [
        Label(
            subject=subject.call,
            labeller=judge.labeller,
            version=judge.version,
            at=now(),
            verdict=_verdict(judge, ruling, place),
            score=None if ruling.scores is None else ruling.scores[place],
            evidence=_evidence(item, ruling, place, told),
        )
        for place, subject in enumerate(item.subjects)
    ]


def selfish(judge: Judge, item: Item) -> list[str]:
    """Says where a judge marks answers of its own model, which it may prefer."""
    own = [subject.tier for subject in item.subjects if subject.model == judge.model.model]
    return [f"the judge is the model of {' and '.join(own)}"] if own else []


def keep(ledger: Ledger, item: Item, records: Iterable[Record], labels: Sequence[Label]) -> bool:
    """Commit a judge's calls, and the labels unless the reference has changed meanwhile.

    Returns:
        Whether the labels were kept.

    Raises:
        LedgerError: The ledger refused; nothing was kept.
    """
    table = schema.answers
    query = select(table.c.at).select_from(
        schema.requests.join(
            table,
            (table.c.task == schema.requests.c.task) & (table.c.prompt_hash == schema.requests.c.prompt_hash),
        )
    )
    with ledger.writing() as connection:
        found = connection.execute(query.where(schema.requests.c.id == item.request)).first()
        same = item.answers_at == (found.at if found else None)
        ledger.add(connection, [*records, *(labels if same else ())])
    return same


def _verdict(judge: Judge, ruling: Ruling, place: int) -> Verdict:
    if ruling.scores is None:
        return Verdict.UNSCORED
    score = ruling.scores[place]
    good = score >= 0.5 if judge.pairwise else score > 0.5
    return Verdict.GOOD if good else Verdict.BAD


def _evidence(item: Item, ruling: Ruling, place: int, told: Sequence[str]) -> str:
    """What happened, in words: first what must not be cut off, then the judge's own."""
    words = ruling.words
    if len(item.subjects) == 2 and ruling.scores is not None:
        other = item.subjects[1 - place]
        words = f"{WORD[ruling.scores[place]]} {other.tier} (call {other.call}): {words}"
    evidence = "; ".join([*told, words])[:EVIDENCE_CHARS]
    return evidence.encode("utf-8", "replace").decode().replace("\x00", "?")  # databases refuse the others
