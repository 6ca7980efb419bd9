"""`python -m workers.health QUEUE`: exit code 0 while the worker of a queue beats, else 1.

For container health checks. It looks at the ledger, where a worker's tasks leave their beats, and not at
processes. The limits are those by which `stepdown up` restarts a worker.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from stepdown.processes import worker_pulse
from stepdown.settings import load_settings
from workers.names import QUEUES

EVER = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.argument("queue", type=click.Choice(QUEUES))
@click.option("--settings", metavar="FILE", help="Settings file.")
def main(queue: str, settings: str | None) -> None:
    """Say whether the worker of QUEUE does its work."""
    complaint = worker_pulse(load_settings(settings), queue).complaint(EVER)
    click.echo(complaint or f"the worker of {queue} beats")
    sys.exit(1 if complaint else 0)


if __name__ == "__main__":
    main()
