"""Which variants of a student there are.

Invariant: a variant counts while its files are whole; one whose files are gone is as if never made. Reads
the registry and the folder of students, and makes nothing.
"""

from __future__ import annotations

from sqlalchemy import select

from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.students import STUDENT, Store, Variant, manifest_of

ORDER: tuple[Variant, ...] = ("adapter", "merged", "fp8", "int8", "gguf")


def variants_of(ledger: Ledger, task: str, student: Artifact) -> list[Artifact]:
    """The newest student of each variant that was exported from a student, without that student itself.

    Each is a candidate of its own, with its own served name.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    newest: dict[str, Artifact] = {}
    for name in _children(ledger, task, student.id):
        try:
            child = Registry(ledger).artifact(name)
            newest[manifest_of(child).variant] = child
        except ArtifactError:
            continue  # a corrupt one is as good as none: it is exported anew
    return [newest[variant] for variant in ORDER if variant in newest]


def whole_variant(
    ledger: Ledger, store: Store, task: str, student: Artifact, variant: str
) -> Artifact | None:
    """The variant of a student, where it was exported and its files are whole."""
    for child in variants_of(ledger, task, student):
        manifest = manifest_of(child)
        if manifest.variant == variant and store.complaint(manifest) is None:
            return child
    return None


def _children(ledger: Ledger, task: str, student: str) -> list[str]:
    """Ids of the students made from a student alone, oldest first."""
    table = schema.artifacts
    wanted = (table.c.kind == STUDENT) & (table.c.task == task)
    rows = ledger.rows(select(table.c.id, table.c.parents).where(wanted).order_by(table.c.at, table.c.id))
    return [row.id for row in rows if list(row.parents) == [student]]
