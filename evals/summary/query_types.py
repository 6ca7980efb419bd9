"""The query-type map of a task: made anew where its clusters or the bound are new, and else once an hour.

Invariant: it is of kept clusters alone, so that a slice has the same id wherever it is shown. As it reads
prompts, it is not made with every report.
"""

from __future__ import annotations

from datetime import timedelta

from evals.metrics.intervals import Estimate
from evals.slices.build import newest_slices
from evals.slices.report import SliceReport, SliceRow, slice_report
from evals.summary.documents import Measured, SliceLine, SlicesDocument
from evals.summary.kept import newest
from evals.summary.scene import Scene

EVERY = timedelta(hours=1)


def slices_if_due(scene: Scene) -> SlicesDocument | None:
    """The map; None where there are no clusters yet, or the map that was kept is new enough.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    slicing = newest_slices(scene.ledger, scene.task)
    if slicing is None or slicing.artifact is None:
        return None
    kept = newest(scene.ledger, scene.task, SlicesDocument)
    before = kept.document if kept else None
    if before and _is_of(scene, before, slicing.artifact.id) and scene.at - before.at < EVERY:
        return None
    report = slice_report(scene.ledger, scene.settings, scene.task, slicing=slicing, outcomes=scene.outcomes)
    return _document(scene, report, slicing.artifact.id)


def _is_of(scene: Scene, kept: SlicesDocument, artifact: str) -> bool:
    """Whether a map is of the kept clusters, and of the promise in force: its verdicts hang on both."""
    declared = scene.declared
    promise = (declared.max_quality_loss, declared.confidence, declared.certify_on)
    return kept.artifact == artifact and (kept.bound, kept.confidence, kept.certify_on) == promise


def _document(scene: Scene, report: SliceReport, artifact: str) -> SlicesDocument:
    return SlicesDocument(
        at=scene.at,
        since=scene.since,
        artifact=artifact,
        requests=report.requests,
        looked_at=report.looked_at,
        bound=report.epsilon,
        confidence=report.confidence,
        certify_on=report.certify_on,
        rows=tuple(_line(row) for row in report.rows),
        new=tuple(slice_.name for slice_ in report.new),
        vanished=tuple(slice_.name for slice_ in report.vanished),
    )


def _line(row: SliceRow) -> SliceLine:
    return SliceLine(
        id=row.id,
        name=row.name,
        terms=row.terms,
        requests=row.requests,
        prompts=row.prompts,
        share=Measured.of(row.share),
        cost_share=row.cost_share,
        cost_strong=Measured.of(row.costs.strong),
        cost_small=Measured.of(row.costs.small),
        cost_method=row.costs.method,
        strong=Measured.of(row.strong),
        small=Measured.of(row.small),
        regret=Measured.of(row.regret),
        saving=_measured(row.saving),
        may=row.verdict.may.value,
        why=row.verdict.why,
        more=row.verdict.more,
        examples=row.examples,
    )


def _measured(estimate: Estimate | None) -> Measured | None:
    return None if estimate is None else Measured.of(estimate)
