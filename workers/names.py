"""The names that tie senders, workers and schedule together: tasks, queues and heartbeats.

Tasks are sent by name, so a sender imports none of their code.
"""

from __future__ import annotations

from typing import Final

from stepdown.settings import Settings

LABELS: Final = "labels"
FITS: Final = "fits"
EVALS: Final = "evals"
STUDENTS: Final = "students"
NIGHTS: Final = "nights"
ALWAYS: Final = (LABELS, FITS, EVALS)
DISTILLING: Final = (STUDENTS, NIGHTS)
QUEUES: Final = ALWAYS + DISTILLING

SWEEP: Final = "stepdown.label"
FIT: Final = "stepdown.fit"
REPORT: Final = "stepdown.report"
ROLLUP: Final = "stepdown.rollup"
JUDGE: Final = "stepdown.judge"
RANK: Final = "stepdown.rank"
SLICES: Final = "stepdown.slices"
SUITES: Final = "stepdown.suites"
RECONCILE: Final = "stepdown.reconcile"
ROLLOUT: Final = "stepdown.rollout"
NIGHT: Final = "stepdown.night"
HEARTBEAT: Final = "stepdown.heartbeat"

QUEUE_OF: Final = {
    SWEEP: LABELS,
    FIT: FITS,
    REPORT: FITS,
    ROLLUP: LABELS,
    JUDGE: EVALS,
    RANK: EVALS,
    SLICES: EVALS,
    SUITES: EVALS,
    RECONCILE: STUDENTS,
    ROLLOUT: STUDENTS,
    NIGHT: NIGHTS,
}


def queues_of(settings: Settings) -> tuple[str, ...]:
    """The queues that have work: those of students only where something is distilled."""
    return QUEUES if settings.distils else ALWAYS
