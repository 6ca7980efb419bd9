"""What a task comes to in windows that end at the present, and the promise that it is under."""

from __future__ import annotations

from datetime import timedelta

from evals.report.held_out import shown_router
from evals.report.quality import promise
from evals.summary.bills import Stretch, bill_of
from evals.summary.days import audited, coverage, explored_since
from evals.summary.documents import Totals, Window
from evals.summary.scene import CONFIDENCE, Scene
from stepdown.errors import ArtifactError
from stepdown.records import Artifact

ALL = "all"
WINDOWS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30), ALL: None}


def totals(scene: Scene) -> Totals:
    """What a task comes to.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    router, labelled = router_of(scene), scene.everything.labelled_pairs
    return Totals(
        at=scene.at,
        since=scene.since,
        confidence=CONFIDENCE,
        mode=scene.deployed.mode.value,
        windows={name: _window(scene, length) for name, length in WINDOWS.items()},
        bound=scene.declared.max_quality_loss,
        promise=promise(router.id, router.settings, router.summary) if router else None,
        in_force=router is not None and router.id == scene.deployed.artifact,
        audit_of_router=audited(explored_since(scene.outcomes, scene.router_since)),
        labelled_pairs=len(labelled),
        labelled_prompts=int(labelled["prompt_hash"].nunique()),
    )


def router_of(scene: Scene) -> Artifact | None:
    """The router in force, or the newest where none is; None where there is none that can be read."""
    promotion = scene.promotions[-1] if scene.promotions else None
    try:
        return shown_router(scene.ledger, scene.task, promotion)
    except ArtifactError:
        return None  # an alarm says so


def _window(scene: Scene, length: timedelta | None) -> Window:
    start = None if length is None else scene.at - length
    start = None if start is None or (scene.since is not None and start < scene.since) else start
    stretch = Stretch(start, None, scene.outcomes.since(start))
    made = bill_of(scene, stretch)
    return Window(
        start=start or scene.since,
        requests=len(stretch.outcomes.requests),
        bill=made.bill,
        why_no_bill=made.why,
        coverage=coverage(stretch.outcomes),
        audit=audited(stretch.outcomes),
    )
