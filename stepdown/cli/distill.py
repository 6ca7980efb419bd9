"""The group `stepdown distill`: datasets from the ledger, and students from datasets.

Invariant: as with `stepdown` itself, a command's module is imported only when the command is run.
"""

from __future__ import annotations

import click

from stepdown.cli import LazyGroup

SUBCOMMANDS = {
    "dataset": (
        "stepdown.cli.distill_dataset",
        "Build a task's dataset from the ledger and say what is in it.",
    ),
}


@click.group(cls=LazyGroup, table=SUBCOMMANDS)
def distill() -> None:
    """Build datasets from the ledger, and students from those."""
