"""Prometheus metrics of the proxy.

Invariant: the hot path touches only children that it has cached; labels come from the settings and from
closed sets, never from a caller's text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from router.operations import Operations
from stepdown.records import Call

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
STAGE_SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
STAGES = ("decide", "first_byte", "upstream", "commit", "total")


class Served(NamedTuple):
    """A request that was answered by a model, or tried, as it is counted.

    Attributes:
        latency_s: From the request to its last byte.
        decide_s: Of that, until it was read, parsed and decided.
        ttft_ms: From asking the model to its first byte; None where there was none.
        upstream_ms: From asking the model to its last byte.
    """

    task: str
    model: str
    mode: str
    reason: str
    status: int
    latency_s: float
    decide_s: float
    ttft_ms: float | None
    upstream_ms: float


class _Counters(NamedTuple):
    """What is counted of one model's calls in one role for one task."""

    cost: Counter
    unpriced: Counter
    prompt: Counter
    completion: Counter
    cached: Counter


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
        self._commit_wait = Histogram(
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
        self._count_decisions(own)
        self._count_spending(own)
        self._time_stages(own)
        self.operations = Operations()
        own.register(self.operations)

    def _count_decisions(self, own: CollectorRegistry) -> None:
        self._decisions = Counter(
            "stepdown_decisions",
            "Decisions for answered requests, by the reason that the client is told.",
            ["task", "mode", "reason"],
            registry=own,
        )
        self._served: dict[tuple[str, str, str, str, int], tuple[Counter, Counter]] = {}
        self._timed: dict[str, tuple[Histogram, Histogram]] = {}

    def _time_stages(self, own: CollectorRegistry) -> None:
        stages = Histogram(
            "stepdown_stage_seconds",
            "How long a stage of a request took: decide, first_byte, upstream, commit, total.",
            ["stage"],
            buckets=STAGE_SECONDS,
            registry=own,
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._commit = Histogram(
            "stepdown_ledger_commit_seconds",
            "How long the ledger took to commit a group of records.",
            buckets=COMMIT_SECONDS,
            registry=own,
        )

    def _count_spending(self, own: CollectorRegistry) -> None:
        labels = ["task", "model", "role"]
        self._cost = Counter(
            "stepdown_cost_usd_micros",
            "Cost of recorded calls, in millionths of a dollar; those without a known price add nothing.",
            labels,
            registry=own,
        )
        self._unpriced = Counter(
            "stepdown_unpriced_calls", "Recorded calls whose cost is not known.", labels, registry=own
        )
        self._tokens = Counter(
            "stepdown_tokens",
            "Tokens of recorded calls: prompt (cached ones included), completion, cached.",
            [*labels, "kind"],
            registry=own,
        )
        self._spending: dict[tuple[str, str, str], _Counters] = {}

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

    def served(self, seen: Served) -> None:
        """Count a request that was answered."""
        labels = seen[:5]
        counters = self._served.get(labels)
        if counters is None:
            counters = self._served[labels] = (
                self._requests.labels(seen.task, seen.model, seen.reason, str(seen.status)),
                self._decisions.labels(seen.task, seen.mode, seen.reason),
            )
        counters[0].inc()
        counters[1].inc()
        timed = self._timed.get(seen.model)
        if timed is None:
            timed = self._timed[seen.model] = (
                self._latency.labels(seen.model),
                self._ttft.labels(seen.model),
            )
        timed[0].observe(seen.latency_s)
        stages = self._stages
        stages["total"].observe(seen.latency_s)
        stages["decide"].observe(seen.decide_s)
        stages["upstream"].observe(seen.upstream_ms / 1000)
        if seen.ttft_ms is not None:
            timed[1].observe(seen.ttft_ms / 1000)
            stages["first_byte"].observe(seen.ttft_ms / 1000)

    def committed(self, wait_s: float) -> None:
        """Count a request's records that are kept, and how long its answer waited for them."""
        self._commit_wait.observe(wait_s)
        self._stages["commit"].observe(wait_s)

    def group_committed(self, seconds: float) -> None:
        """Count one commit of the ledger; any thread may call it."""
        self._commit.observe(seconds)

    def spent(self, task: str, records: Iterable[object]) -> None:
        """Count the cost and the tokens of the calls among records that are kept."""
        for call in records:
            if isinstance(call, Call):
                self._spent(task, call)

    def _spent(self, task: str, call: Call) -> None:
        labels = (task, call.model, call.role.value)
        counters = self._spending.get(labels)
        if counters is None:
            counters = self._spending[labels] = self._counters(labels)
        if call.cost_usd_micros is None:
            counters.unpriced.inc()
        else:
            counters.cost.inc(call.cost_usd_micros)
        for counter, tokens in (
            (counters.prompt, call.prompt_tokens),
            (counters.completion, call.completion_tokens),
            (counters.cached, call.cached_tokens),
        ):
            if tokens:
                counter.inc(tokens)

    def _counters(self, labels: tuple[str, str, str]) -> _Counters:
        kinds = [self._tokens.labels(*labels, kind) for kind in ("prompt", "completion", "cached")]
        return _Counters(self._cost.labels(*labels), self._unpriced.labels(*labels), *kinds)

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
