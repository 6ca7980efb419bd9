"""Which prompts of the traffic a student must not be judged on: those that it was trained on.

Invariant: what is left is a fair draw of the traffic. A dataset has the prompts that strong got right, so to
leave out its training prompts alone would leave mostly those that strong got wrong, on which nobody is ever
worse than strong. So of what came before the dataset only the part that is held out by the rule of the split
is taken, whether a prompt became an example or not; of what came for the first time later, all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from distill.dataset.example import PARTS, TEST, Part
from distill.dataset.kept import DATASET, content_of
from distill.dataset.split import part_at
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import StudentSettings, TaskSettings
from stepdown.students import STUDENT

CHUNK = 500


@dataclass(frozen=True)
class Trained:
    """What students were trained on.

    Attributes:
        parts: The part of the split in which each prompt's group is, where it is in one.
        conversations: Of which the examples were turns that are not held out.
        until: When the newest of their datasets was made; None where there is none.
        rules: Of the split.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    conversations: frozenset[str] = frozenset()
    until: datetime | None = None
    rules: StudentSettings | None = None

    def allows(self, prompt_hash: str, conversation: str | None, *, is_new: bool) -> bool:
        """Whether a prompt may be counted for or against the students.

        Args:
            prompt_hash: Of the prompt.
            conversation: Of which it is a turn, or None.
            is_new: Whether it first came after the newest dataset was made.
        """
        if prompt_hash in self.parts:
            return self.parts[prompt_hash] == TEST
        if conversation is not None and conversation in self.conversations:
            return False
        if is_new or self.rules is None:
            return True
        shares = {name: getattr(self.rules, name) for name in ("validation_share", "test_share")}
        return part_at(prompt_hash, **shares, seed=self.rules.seed) == TEST


def trained_on(ledger: Ledger, task_name: str, task: TaskSettings, students: Iterable[str | None]) -> Trained:
    """What some students were trained on; None is the small model as declared, which learnt from no traffic.

    Raises:
        ArtifactError: A student, or a dataset of it, is not in the registry or is corrupt.
        LedgerError: The ledger cannot be read.
    """
    datasets = datasets_of(ledger, [student for student in students if student is not None])
    if not datasets:
        return Trained()
    parts: dict[str, Part] = {}
    requests: set[str] = set()
    for content in map(content_of, datasets):
        for prompt, past in content.past.items():  # what one student was trained on is held out from neither
            parts[prompt] = min(parts.get(prompt, TEST), past.part, key=PARTS.index)
        requests.update(row.request for row in content.rows if row.request and row.part != TEST)
    return Trained(
        parts=parts,
        conversations=_conversations(ledger, sorted(requests)),
        until=max(artifact.at for artifact in datasets),
        rules=task.student or StudentSettings(base=task_name),
    )


def datasets_of(ledger: Ledger, students: Iterable[str]) -> list[Artifact]:
    """The datasets that students come from, by whatever line of exports and trainings.

    Raises:
        ArtifactError: A student or a dataset is not in the registry, or is corrupt.
    """
    return [artifact for artifact in _line(ledger, students) if artifact.kind == DATASET]


def _line(ledger: Ledger, students: Iterable[str]) -> Iterator[Artifact]:
    registry, line = Registry(ledger), list(students)
    known = set(line)
    while line:
        artifact = registry.artifact(line.pop())
        yield artifact
        if artifact.kind == STUDENT:
            further = [parent for parent in artifact.parents if parent not in known]
            known.update(further)
            line += _kept(ledger, further)


def _kept(ledger: Ledger, names: Sequence[str]) -> list[str]:
    """Those parents that are artifacts, and not the hash of something else."""
    table = schema.artifacts
    return [row.id for row in ledger.rows(select(table.c.id).where(table.c.id.in_(names)))]


def _conversations(ledger: Ledger, requests: Sequence[str]) -> frozenset[str]:
    table = schema.requests
    found: set[str] = set()
    for start in range(0, len(requests), CHUNK):
        wanted = table.c.id.in_(requests[start : start + CHUNK])
        rows = ledger.rows(select(table.c.conversation).where(wanted, table.c.conversation.is_not(None)))
        found.update(row.conversation for row in rows)
    return frozenset(found)
