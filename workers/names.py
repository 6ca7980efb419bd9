"""The names that tie senders, workers and schedule together: tasks, queues and heartbeats.

Tasks are sent by name, so a sender imports none of their code.
"""

from __future__ import annotations

from typing import Final

LABELS: Final = "labels"
FITS: Final = "fits"
EVALS: Final = "evals"
QUEUES: Final = (LABELS, FITS, EVALS)

SWEEP: Final = "stepdown.label"
FIT: Final = "stepdown.fit"
REPORT: Final = "stepdown.report"
JUDGE: Final = "stepdown.judge"
RANK: Final = "stepdown.rank"
SLICES: Final = "stepdown.slices"
SUITES: Final = "stepdown.suites"
HEARTBEAT: Final = "stepdown.heartbeat"

QUEUE_OF: Final = {
    SWEEP: LABELS,
    FIT: FITS,
    REPORT: FITS,
    JUDGE: EVALS,
    RANK: EVALS,
    SLICES: EVALS,
    SUITES: EVALS,
}
