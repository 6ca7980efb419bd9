"""How the workers and the small models' servers are, as `/metrics` shows it.

Invariant: an age is reckoned when it is asked for, so that it grows where nothing is heard any more. Shows
what it is given, and does not know where that comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stepdown.ids import now


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers last found of the work that is left, the summary `operations`.

    Attributes:
        label_backlog: Answers that wait for a label, by task.
        oldest_unlabelled_s: Age of the oldest of them, by task; None where there is none.
        queue_age_s: How long the oldest work of a queue has waited, by queue.
    """

    label_backlog: dict[str, int] = {}
    oldest_unlabelled_s: dict[str, float | None] = {}
    queue_age_s: dict[str, float | None] = {}


class Drift(NamedTuple):
    """By how many students a server differs from what the registry says.

    Attributes:
        missing: Students in force or on trial that it has not.
        extra: Students that it has and that neither traffic nor a rollback has reason to ask for.
    """

    model: str
    url: str
    missing: int
    extra: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One look.

    Attributes:
        beats: When the worker of each queue was last alive.
        found: None where the workers left nothing yet.
        found_at: When they left it.
    """

    beats: Mapping[str, datetime] = field(default_factory=dict)
    found: Found = field(default_factory=Found)
    found_at: datetime | None = None
    drifts: Sequence[Drift] = ()


class Operations(Collector):
    """The newest look, as metrics; replaced whole by who looks."""

    def __init__(self) -> None:
        self.seen = Seen()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics; those without a value are named all the same."""
        seen, at = self.seen, now()
        yield _gauge(
            "stepdown_heartbeat_age_seconds",
            "Since the worker of a queue was last known to be alive.",
            "queue",
            {queue: (at - beat).total_seconds() for queue, beat in seen.beats.items()},
        )
        yield from _backlog(seen.found)
        age_s = None if seen.found_at is None else (at - seen.found_at).total_seconds()
        yield _family(
            "stepdown_backlog_age_seconds",
            "Since the workers last counted what is left to do.",
            (),
            {} if age_s is None else {(): age_s},
        )
        yield _family(
            "stepdown_adapter_drift",
            "Students that a server should have and has not (missing), or has and should not (extra).",
            ("model", "url", "kind"),
            {(d.model, d.url, kind): getattr(d, kind) for d in seen.drifts for kind in ("missing", "extra")},
        )


def _backlog(found: Found) -> Iterator[GaugeMetricFamily]:
    yield _gauge(
        "stepdown_label_backlog", "Answers that wait for a label.", "task", dict(found.label_backlog)
    )
    yield _gauge(
        "stepdown_oldest_unlabelled_seconds",
        "Age of the oldest answer that waits for a label; 0 where none waits.",
        "task",
        {task: age_s or 0.0 for task, age_s in found.oldest_unlabelled_s.items()},
    )
    yield _gauge(
        "stepdown_queue_age_seconds",
        "How long the oldest work of a queue has waited; 0 where none waits.",
        "queue",
        {queue: age_s or 0.0 for queue, age_s in found.queue_age_s.items()},
    )


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    return _family(name, words, (label,), {(key,): value for key, value in values.items()})


def _family(
    name: str, words: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
