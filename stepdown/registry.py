"""What is deployed: artifacts named by their content and making, and the promotions that put them in force.

Invariant: the newest promotion of a task is what is in force; nothing else is. The module does not
know how an artifact is made or what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, func, select

from stepdown.errors import ArtifactError, LedgerError
from stepdown.ids import digest, now
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Deployed, Mode, Promotion

ANY: Any = object()


def _promotion(row: Row[Any]) -> Promotion:
    fields = dict(row._mapping)
    try:
        return Promotion(**{**fields, "mode": Mode(fields["mode"])})
    except ValueError as error:
        raise LedgerError(
            f"promotion {fields['sequence']} of task {fields['task']!r} is corrupt: {error}"
        ) from error


def artifact_id(
    kind: str, task: str, content: bytes, *, parents: tuple[str, ...], settings: Mapping[str, Any]
) -> str:
    """The name of an artifact: a hash of its content and of what made it."""
    made_of = msgspec.json.encode([kind, task, parents, settings], order="sorted")
    return digest(made_of + b"\x00" + content)


class Registry:
    """Reads and writes artifacts and promotions in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def revision(self) -> int:
        """A number that grows with every promotion of any task: what a watcher polls."""
        return int(self._ledger.rows(select(func.count()).select_from(schema.promotions))[0][0])

    def current(self, task: str) -> Promotion | None:
        """The promotion in force, or None where the task was never promoted (it is in mode strong).

        Raises:
            LedgerError: The row is corrupt.
        """
        table = schema.promotions
        newest = select(table).where(table.c.task == task).order_by(table.c.sequence.desc()).limit(1)
        found = self._ledger.rows(newest)
        return _promotion(found[0]) if found else None

    def history(self, task: str) -> list[Promotion]:
        """All promotions of a task, oldest first."""
        table = schema.promotions
        every = select(table).where(table.c.task == task).order_by(table.c.sequence)
        return [_promotion(row) for row in self._ledger.rows(every)]

    def promote(
        self,
        task: str,
        deployed: Deployed,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
        after: int,
    ) -> bool:
        """Put something in force, if promotion number `after` is still the newest.

        Returns:
            False where it is not, as somebody else promoted meanwhile; nothing was changed.
        """
        if after != self._newest_number(task):
            return False
        promotion = Promotion(
            task=task,
            sequence=after + 1,
            at=now(),
            **deployed._asdict(),
            actor=actor,
            reason=reason,
            evidence=evidence,
        )
        try:
            self._ledger.append([promotion])
        except LedgerError:
            if self._newest_number(task) > after:
                return False
            raise
        return True

    def _newest_number(self, task: str) -> int:
        newest = self.current(task)
        return newest.sequence if newest is not None else 0

    def keep(
        self,
        kind: str,
        task: str,
        content: bytes,
        *,
        parents: tuple[str, ...] = (),
        settings: Mapping[str, Any],
        summary: Mapping[str, Any],
    ) -> Artifact:
        """Keep an artifact under the hash of its content and making; keeping it twice changes nothing."""
        artifact = Artifact(
            id=artifact_id(kind, task, content, parents=parents, settings=settings),
            kind=kind,
            task=task,
            at=now(),
            content=content,
            parents=parents,
            settings=settings,
            summary=summary,
        )
        self._ledger.append([artifact])
        return artifact

    def artifact(self, name: str) -> Artifact:
        """An artifact, its content verified against its name.

        Raises:
            ArtifactError: It is not there, or its content is corrupt.
        """
        table = schema.artifacts
        found = self._ledger.rows(select(table).where(table.c.id == name))
        if not found:
            raise ArtifactError(f"artifact {name!r} is not in the registry")
        fields = dict(found[0]._mapping)
        artifact = Artifact(**{**fields, "parents": tuple(fields["parents"])})
        if name != artifact_id(
            artifact.kind,
            artifact.task,
            artifact.content,
            parents=artifact.parents,
            settings=artifact.settings,
        ):
            raise ArtifactError(f"artifact {name!r} is corrupt: its content has another hash; fit it again")
        return artifact

    def count(self, kind: str, task: str) -> int:
        """How many artifacts of a kind a task has."""
        table = schema.artifacts
        wanted = (table.c.kind == kind) & (table.c.task == task)
        return int(self._ledger.rows(select(func.count()).select_from(table).where(wanted))[0][0])

    def newest(self, kind: str, task: str, *, student: str | None = ANY) -> Artifact | None:
        """The newest artifact of a kind for a task, or None.

        Args:
            kind: Of the artifact.
            task: Name of the task.
            student: Only what was made for this student, by its `settings`; None is the small model as
                declared, and `ANY` takes all.
        """
        table = schema.artifacts
        wanted = (table.c.kind == kind) & (table.c.task == task)
        newest_first = select(table.c.id, table.c.settings).where(wanted).order_by(table.c.at.desc())
        if student is ANY:
            newest_first = newest_first.limit(1)
        for row in self._ledger.rows(newest_first):
            if student is ANY or row.settings.get("student") == student:
                return self.artifact(row.id)
        return None

    def deployed(self, task: str) -> Deployed:
        """What is in force for a task.

        Raises:
            LedgerError: The row is corrupt.
        """
        current = self.current(task)
        return current.deployed if current else Deployed()
