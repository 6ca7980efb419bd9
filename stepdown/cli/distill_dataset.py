"""The command that builds a task's dataset, shows its card, and carries datasets in and out as files."""

from __future__ import annotations

import click

from stepdown.cli.options import settings_option
from stepdown.settings import Settings


@click.command()
@settings_option
@click.argument("task")
def dataset(settings: Settings, task: str) -> None:
    """Build the dataset of TASK from the ledger, keep it, and print its card."""
