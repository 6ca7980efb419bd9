"""The tables, one for each record, and the types in which values are stored.

Column names are the field names of `stepdown.records`. Times are stored as microseconds since 1970
(UTC) in both databases, so that a plain integer sorts, subtracts and never loses its zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Python to database."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Database to Python."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Word(TypeDecorator[str]):
    """A member of a string enum, stored as its text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Python to database: plain text, for which drivers need not look for an adapter."""
        return None if value is None else str(value)


metadata = MetaData()

Id = String(64)

requests = Table(
    "requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("task", String(200), nullable=False),
    Column("tenant", String(16), nullable=False),
    Column("conversation", String(200)),
    Column("model_asked", String(200), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("body", Id, nullable=False),
    Column("reference", Text),
    Column("check", String(200)),
    Column("slice", String(200)),
    Column("status", Integer, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("trace", String(64)),
    Index("requests_by_task", "task", "at"),
    Index("requests_by_prompt", "task", "prompt_hash"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("request", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("mode", Word(16), nullable=False),
    Column("policy", Id, nullable=False),
    Column("chosen", Word(16), nullable=False),
    Column("reason", Word(64), nullable=False),
    Column("propensity", Float, nullable=False),
    Column("p_strong", Float),
    Column("p_small", Float),
    Column("gain", Float),
    Column("threshold", Float),
    Column("explored", Boolean, nullable=False),
    Column("shadowed", Boolean, nullable=False),
    Column("student", Id),
    Column("arm", Word(16)),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Id, primary_key=True),
    Column("request", Id, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("role", Word(16), nullable=False),
    Column("tier", Word(16), nullable=False),
    Column("model", String(200), nullable=False),
    Column("status", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("ttft_ms", Float),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd_micros", BigInteger),
    Column("finish_reason", String(64)),
    Column("error", Text),
    Column("body", Id),
    Index("calls_by_request", "request"),
    Index("calls_by_time", "at"),
)

# As a query has to say it, word for word, to find people's labels by their index.
OF_PEOPLE = text("substr(labeller, 1, 7) = 'person:'")

labels = Table(
    "labels",
    metadata,
    Column("subject", Id, primary_key=True),
    Column("labeller", String(200), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("verdict", Word(16), nullable=False),
    Column("score", Float),
    Column("evidence", Text, nullable=False),
    Column("cost_usd_micros", BigInteger, nullable=False),
    Index("labels_of_people", "labeller", "at", sqlite_where=OF_PEOPLE, postgresql_where=OF_PEOPLE),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Id, primary_key=True),
    Column("request", Id, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("value", Text, nullable=False),
    Index("feedback_by_request", "request"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("task", String(200), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("parents", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("summary", JSON, nullable=False),
    Index("artifacts_by_task", "task", "kind", "at"),
)

promotions = Table(
    "promotions",
    metadata,
    Column("task", String(200), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("mode", Word(16), nullable=False),
    Column("artifact", Id),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("student", Id),
    Column("candidate", Id),
    Column("candidate_router", Id),
    Column("candidate_share", Float, nullable=False),
    Column("max_quality_loss", Float),
)

bodies = Table(
    "bodies",
    metadata,
    Column("digest", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("task", String(200), primary_key=True),
    Column("prompt_hash", String(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("reference", Text, nullable=False),
    Column("check", String(200)),
)

cached_answers = Table(
    "cached_answers",
    metadata,
    Column("key", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("task", String(200), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("model", String(200), nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("ttft_ms", Float),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("cost_usd_micros", BigInteger),
    Column("finish_reason", String(64)),
    Column("body", Id, nullable=False),
    Index("cached_answers_by_task", "task", "at"),
)

# What people are asked to label, the most useful first. Made from the other tables by the workers, who
# may throw it away and make it anew; a row is one request whose answers want a person's eye. Priority is
# the place in the queue: the smallest is served first.
label_queue = Table(
    "label_queue",
    metadata,
    Column("request", Id, primary_key=True),
    Column("task", String(200), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("why", String(32), nullable=False),
    Column("priority", Float, nullable=False),
    Column("strong_call", Id),
    Column("small_call", Id),
    Index("label_queue_by_priority", "task", "priority"),
)

# Judgements under way at a provider's batch endpoint.
batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("task", String(200), nullable=False),
    Column("labeller", String(200), nullable=False),
    Column("version", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("upstream_id", String(200)),
    Column("state", String(32), nullable=False),
    Column("body", Id, nullable=False),
    Index("batches_by_state", "task", "labeller", "state"),
)

nights = Table(
    "nights",
    metadata,
    Column("id", String(260), primary_key=True),
    Column("task", String(200), nullable=False),
    Column("date", String(10), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(200), nullable=False),
    Index("nights_by_task", "task", "at"),
)

night_events = Table(
    "night_events",
    metadata,
    Column("night", String(260), primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("event", String(32), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("found", JSON, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    Column("run", Id, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("values", JSON, nullable=False),
)

expenses = Table(
    "expenses",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("task", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cost_usd_micros", BigInteger),
    Index("expenses_by_task", "task", "at"),
)

# What the servers of small models were last seen to have. Made anew at every look, like heartbeats.
replicas = Table(
    "replicas",
    metadata,
    Column("url", String(400), primary_key=True),
    Column("alias", String(200), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("adapters", JSON, nullable=False),
    Column("refused", JSON, nullable=False),
    Column("note", Text, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

# Counts of an hour of a task's requests, and of the calls that were made for them. Made by the workers from
# the tables above, hour by hour, as often as an hour changes. Times are counted in the buckets of
# `evals.rollups.buckets`.
request_hours = Table(
    "request_hours",
    metadata,
    Column("task", String(200), primary_key=True),
    Column("hour", UtcTime, primary_key=True, autoincrement=False),
    Column("mode", Word(16), primary_key=True),
    Column("reason", Word(64), primary_key=True),
    Column("answered", Word(16), primary_key=True),
    Column("status", Integer, primary_key=True, autoincrement=False),
    Column("requests", Integer, nullable=False),
    Column("latency", JSON, nullable=False),
)

call_hours = Table(
    "call_hours",
    metadata,
    Column("task", String(200), primary_key=True),
    Column("hour", UtcTime, primary_key=True, autoincrement=False),
    Column("model", String(200), primary_key=True),
    Column("tier", Word(16), primary_key=True),
    Column("role", Word(16), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("unpriced", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_usd_micros", BigInteger, nullable=False),
    Column("latency", JSON, nullable=False),
    Column("ttft", JSON, nullable=False),
)

# What the workers last found of a task, by name: estimates that take too long for a page to make.
summaries = Table(
    "summaries",
    metadata,
    Column("task", String(200), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
