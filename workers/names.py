"""The names that tie senders, workers and schedule together: tasks, queues and heartbeats.

Tasks are sent by name, so a sender imports none of their code.
"""

from __future__ import annotations

from typing import Final

LABELS: Final = "labels"
FITS: Final = "fits"
QUEUES: Final = (LABELS, FITS)

SWEEP: Final = "stepdown.label"
FIT: Final = "stepdown.fit"
REPORT: Final = "stepdown.report"
HEARTBEAT: Final = "stepdown.heartbeat"

QUEUE_OF: Final = {SWEEP: LABELS, FIT: FITS, REPORT: FITS}
