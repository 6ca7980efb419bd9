"""Prometheus metrics of the proxy.

Invariant: the hot path touches only children that it has cached; labels come from the settings and from
closed sets, never from a caller's text.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

ServedLabels = tuple[str, str, str, int]


class Metrics:
    """The metrics of one proxy, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self._requests = Counter(
            "stepdown_requests",
            "Requests answered by a model, or tried.",
            ["task", "model", "reason", "status"],
            registry=own,
        )
        self._refused = Counter(
            "stepdown_refused",
            "Requests refused before any model was asked.",
            ["status", "code"],
            registry=own,
        )
        self._latency = Histogram(
            "stepdown_request_seconds",
            "From the request to its last byte.",
            ["model"],
            buckets=SECONDS,
            registry=own,
        )
        self._ttft = Histogram(
            "stepdown_upstream_ttft_seconds",
            "From asking a model to its first byte.",
            ["model"],
            buckets=SECONDS,
            registry=own,
        )
        self._upstream_failures = Counter(
            "stepdown_upstream_failures", "Calls of a model without a usable answer.", ["model"], registry=own
        )
        self.commit_wait = Histogram(
            "stepdown_commit_wait_seconds",
            "How long an answer waited for its record.",
            buckets=COMMIT_SECONDS,
            registry=own,
        )
        self.commit_failures = Counter(
            "stepdown_commit_failures", "Records that the ledger refused.", registry=own
        )
        self.shadows_in_flight = Gauge("stepdown_shadow_calls", "Shadow calls under way.", registry=own)
        self.shadows_dropped = Counter(
            "stepdown_shadow_calls_dropped", "Shadow calls that found no place.", registry=own
        )
        self.policy_revision = Gauge("stepdown_policy_revision", "Promotions loaded.", registry=own)
        self.reload_failures = Counter(
            "stepdown_policy_reload_failures", "Policies that were refused or not readable.", registry=own
        )
        self._watch_servers(own)
        self._count_picks(own)
        self._served: dict[ServedLabels, Counter] = {}
        self._timed: dict[str, tuple[Histogram, Histogram]] = {}

    def _watch_servers(self, own: CollectorRegistry) -> None:
        """The metrics of the servers of small models, as the ledger has them."""
        labels = ["model", "url"]
        self._server_serves = Gauge(
            "stepdown_server_serves", "Whether a server was last seen to serve.", labels, registry=own
        )
        self._server_students = Gauge(
            "stepdown_server_students", "Students that it was last seen to have.", labels, registry=own
        )
        self._server_lacks = Gauge(
            "stepdown_server_refused", "Students that it should have and did not take.", labels, registry=own
        )
        self._server_wrong = Gauge(
            "stepdown_server_wrong", "Whether something is noted to be wrong with it.", labels, registry=own
        )

    def server_seen(
        self, model: str, url: str, *, serves: bool, students: int, refused: int, wrong: bool
    ) -> None:
        """Note how a server of a small model was last seen."""
        self._server_serves.labels(model, url).set(serves)
        self._server_students.labels(model, url).set(students)
        self._server_lacks.labels(model, url).set(refused)
        self._server_wrong.labels(model, url).set(wrong)

    def _count_picks(self, own: CollectorRegistry) -> None:
        """The metrics of portfolios."""
        self._candidates = Counter(
            "stepdown_candidates",
            "Answers of a strong tier of several: picked, passed_over or failed.",
            ["task", "model", "outcome"],
            registry=own,
        )
        self._picks = Counter(
            "stepdown_picks",
            "Answers picked from several, by what picked them.",
            ["task", "by"],
            registry=own,
        )
        self._stage_failures = Counter(
            "stepdown_picker_failures", "Stages of a picker that failed.", ["task", "stage"], registry=own
        )

    def served(
        self, task: str, model: str, reason: str, status: int, latency_s: float, ttft_ms: float | None
    ) -> None:
        """Count a request that was answered."""
        labels = (task, model, reason, status)
        counter = self._served.get(labels)
        if counter is None:
            counter = self._served[labels] = self._requests.labels(task, model, reason, str(status))
        counter.inc()
        timed = self._timed.get(model)
        if timed is None:
            timed = self._timed[model] = (self._latency.labels(model), self._ttft.labels(model))
        timed[0].observe(latency_s)
        if ttft_ms is not None:
            timed[1].observe(ttft_ms / 1000)

    def refused(self, status: int, code: str) -> None:
        """Count a request that was refused."""
        self._refused.labels(str(status), code).inc()

    def upstream_failed(self, model: str) -> None:
        """Count a call without a usable answer."""
        self._upstream_failures.labels(model).inc()

    def candidate(self, task: str, model: str, outcome: str) -> None:
        """Count a candidate of a portfolio."""
        self._candidates.labels(task, model, outcome).inc()

    def picked(self, task: str, by: str) -> None:
        """Count a pick."""
        self._picks.labels(task, by).inc()

    def stage_failed(self, task: str, stage: str) -> None:
        """Count a stage of a picker that failed."""
        self._stage_failures.labels(task, stage).inc()

    def exposition(self) -> bytes:
        """The body of `GET /metrics`."""
        return generate_latest(self.registry)
