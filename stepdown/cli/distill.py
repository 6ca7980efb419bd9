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
    "train": ("stepdown.cli.distill_train", "Train a task's student, or say what that would take."),
    "export": ("stepdown.cli.distill_export", "Bring a student into another form: merged, fp8, int8, gguf."),
    "practise": (
        "stepdown.cli.distill_export",
        "Have a student practise on what it failed, and say what rounds of it brought.",
    ),
}


@click.group(cls=LazyGroup, table=SUBCOMMANDS)
def distill() -> None:
    """Build datasets from the ledger, and students from those."""
