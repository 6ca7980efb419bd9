"""Alembic's entry point: runs the migrations on the connection that the ledger hands over."""

from alembic import context

from stepdown.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
