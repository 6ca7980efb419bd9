"""Students: what is in force, nights, curves of trainings, expenses, and the servers of small models.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and make the tables."""
    op.add_column("decisions", sa.Column("student", sa.String(length=64), nullable=True))
    op.add_column("decisions", sa.Column("arm", sa.String(length=16), nullable=True))
    for name in ("student", "candidate", "candidate_router"):
        op.add_column("promotions", sa.Column(name, sa.String(length=64), nullable=True))
    op.add_column(
        "promotions", sa.Column("candidate_share", sa.Float(), nullable=False, server_default=sa.text("0"))
    )
    _make_nights()
    _make_training()
    op.create_table(
        "replicas",
        sa.Column("url", sa.String(length=400), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("adapters", sa.JSON(), nullable=False),
        sa.Column("refused", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("url"),
    )


def _make_nights() -> None:
    op.create_table(
        "nights",
        sa.Column("id", sa.String(length=260), nullable=False),
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("date", sa.String(length=10), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("nights_by_task", "nights", ["task", "at"])
    op.create_table(
        "night_events",
        sa.Column("night", sa.String(length=260), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("night", "stage", "event"),
    )


def _make_training() -> None:
    op.create_table(
        "progress",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run", "step", "kind"),
    )
    op.create_table(
        "expenses",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("cost_usd_micros", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("expenses_by_task", "expenses", ["task", "at"])
