"""What the dashboard shows: rollups, summaries, bounds that people set, and traces.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, the index and the tables."""
    op.add_column("promotions", sa.Column("max_quality_loss", sa.Float(), nullable=True))
    op.add_column("requests", sa.Column("trace", sa.String(length=64), nullable=True))
    op.create_index("calls_by_time", "calls", ["at"])
    of_people = sa.text("substr(labeller, 1, 7) = 'person:'")
    op.create_index(
        "labels_of_people", "labels", ["labeller", "at"], sqlite_where=of_people, postgresql_where=of_people
    )
    op.create_table(
        "request_hours",
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("answered", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("latency", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("task", "hour", "mode", "reason", "answered", "status"),
    )
    op.create_table(
        "call_hours",
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("unpriced", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd_micros", sa.BigInteger(), nullable=False),
        sa.Column("latency", sa.JSON(), nullable=False),
        sa.Column("ttft", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("task", "hour", "model", "tier", "role"),
    )
    op.create_table(
        "summaries",
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task", "name"),
    )
