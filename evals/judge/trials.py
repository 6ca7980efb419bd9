"""What an audit of a judge tries: which answers are attacked, and with what.

Invariant: the same labels and the same seed give the same trials, each under a name of its own, by which its
answers are found again. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from evals.judge.attacks import ATTACKS, CONTROLS, Planted
from evals.judge.backlog import Item, judged, sought_by
from evals.judge.combine import parts_of, rule
from evals.judge.history import History, read_histories
from evals.judge.judges import Judge
from evals.judge.material import load
from evals.judge.prompts import Material
from router.fitting.splits import position
from stepdown.errors import BadRequest, LedgerError, NotEnoughEvidence
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema

SALT = "audit of a judge"


@dataclass(frozen=True, slots=True)
class Target:
    """A judged item, and the answer of it that is to be attacked.

    Attributes:
        place: Of the answer among the item's subjects.
        before: Its score.
    """

    item: Item
    material: Material
    place: int
    before: float


@dataclass(slots=True)
class Trial:
    """One text planted in one answer, and what became of the verdict."""

    target: Target
    planted: Planted
    key: str
    history: History

    @property
    def material(self) -> Material:
        """The target's texts, with the planted one among them."""
        answers = list(self.target.material.answers)
        answers[self.target.place] = self.planted.into(answers[self.target.place])
        return Material(self.target.material.request, tuple(answers), self.target.material.reference)

    def flipped(self, kind: str) -> bool | None:
        """Whether the verdict moved in favour of the attacked answer; None where there is none."""
        if any(part.name not in self.history.opinions for part in parts_of(kind, 1)):
            return None
        scores = rule(kind, 1, self.history.opinions).scores
        return None if scores is None else scores[self.target.place] > self.target.before


def drawn(ledger: Ledger, judge: Judge, seed: int) -> list[Item]:
    """The judged items in an order drawn by hash."""
    return sorted(
        judged(ledger, sought_by(judge)), key=lambda i: (position(i.request, seed, SALT), i.subjects)
    )


def targets(ledger: Ledger, judge: Judge, items: Iterable[Item], seed: int) -> Iterator[Target]:
    """Those of judged items that can be attacked, one of each prompt, with the answer that did not win."""
    prompts: set[str] = set()
    for item in items:
        target = None if item.prompt_hash in prompts else _target(ledger, judge, item, seed)
        if target is not None:
            prompts.add(item.prompt_hash)
            yield target


def _target(ledger: Ledger, judge: Judge, item: Item, seed: int) -> Target | None:
    scores = _scores(ledger, judge, item)
    if scores is None or (not judge.pairwise and scores[0] > 0.5):
        return None
    try:
        loaded = load(ledger, item)
    except (LedgerError, BadRequest):
        return None  # its texts are gone since it was judged
    if loaded.identical:
        return None
    drawn_by = [position(f"{item.request} {place}", seed, SALT) for place in range(len(scores))]
    place = min(range(len(scores)), key=lambda i: (scores[i], drawn_by[i]))
    return Target(item, loaded.material, place, scores[place] if judge.pairwise else 0.5)


def _scores(ledger: Ledger, judge: Judge, item: Item) -> list[float] | None:
    """The scores of an item's subjects, or None where they are unscored."""
    table = schema.labels
    own = (table.c.labeller == judge.labeller) & (table.c.version == judge.version)
    calls = [subject.call for subject in item.subjects]
    rows = ledger.rows(select(table.c.subject, table.c.score).where(own, table.c.subject.in_(calls)))
    found = {row.subject: row.score for row in rows}
    scores = [found.get(call) for call in calls]
    return None if None in scores else [score for score in scores if score is not None]


def trials(ledger: Ledger, judge: Judge, attacked: Sequence[Target]) -> list[Trial]:
    """Every text planted in every target, with what was answered of it before.

    Raises:
        NotEnoughEvidence: There is no target.
    """
    if not attacked:
        what = (
            "a pair that is no two times the same answer" if judge.pairwise else "an answer that it found bad"
        )
        raise NotEnoughEvidence(
            f"judge {judge.name!r} has judged nothing yet that can be attacked, which is {what}; "
            f"`stepdown judge --task {judge.task}` judges"
        )
    planned = [
        (target, planted, _key(judge, target, planted))
        for target in attacked
        for planted in (*ATTACKS, *CONTROLS)
    ]
    keys = {key: target.item.request for target, _, key in planned}
    histories = read_histories(ledger, judge.settings.kind, keys)
    return [Trial(target, planted, key, histories[key]) for target, planted, key in planned]


def _key(judge: Judge, target: Target, planted: Planted) -> str:
    made_of = [SALT, target.item.key(judge), str(target.place), planted.text, str(planted.before)]
    return digest("\x00".join(made_of).encode())[:24]
