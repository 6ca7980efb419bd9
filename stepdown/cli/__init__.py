"""The `stepdown` command. Each command's module is imported only when it is run.

Invariant: importing this package imports click and nothing of the product, so `--help` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from stepdown import __version__

COMMANDS = {
    "up": ("stepdown.cli.running", "Start proxy, workers, schedule and dashboard as one process tree."),
    "proxy": ("stepdown.cli.running", "Start the proxy alone."),
    "worker": ("stepdown.cli.running", "Start a worker alone."),
    "beat": ("stepdown.cli.running", "Start the schedule alone."),
    "dashboard": ("stepdown.cli.dashboard", "Start the eval dashboard alone."),
    "serve": ("stepdown.cli.serve", "Run a server of whole checkpoints with the one that is in force."),
    "status": ("stepdown.cli.policy", "Show each task's mode, labels and router."),
    "promote": ("stepdown.cli.policy", "Move a task to a mode or a router."),
    "bound": ("stepdown.cli.bound", "Show and set a task's allowed quality loss."),
    "rollback": ("stepdown.cli.policy", "Put back what was in force before the last promotion."),
    "report": ("stepdown.cli.evidence", "Say what was saved and what it cost in quality."),
    "replay": ("stepdown.cli.replay", "Run a recording of two models through the whole loop."),
    "answers": ("stepdown.cli.evidence", "Upload an answer file: references for a task's prompts."),
    "label": ("stepdown.cli.evidence", "Label what has no label yet, now and in this process."),
    "judge": ("stepdown.cli.judging", "Have a task's judges judge what is unjudged, now."),
    "judge-audit": ("stepdown.cli.judging", "Measure how easily a judge is talked round."),
    "labels": ("stepdown.cli.labels", "Say how far each labeller can be trusted, and what contradicts what."),
    "fit": ("stepdown.cli.evidence", "Fit a task's router, now and in this process."),
    "slices": ("stepdown.cli.slicing", "Say which kinds of query there are and which may step down."),
    "eval": ("stepdown.cli.evaluation", "Run models over a suite, compare evaluations, freeze traffic."),
    "trial": ("stepdown.cli.trial", "Try prompt variants over a suite."),
    "distill": ("stepdown.cli.distill", "Build datasets from the ledger and students from those."),
    "night": ("stepdown.cli.night", "Distil a student now, and show how far the nights are."),
    "students": ("stepdown.cli.students", "Say what each student cost and earned, and what became of it."),
    "gate": ("stepdown.cli.gate", "Show what the gate said of a task's newest student."),
    "config": ("stepdown.cli.setup", "Show every setting with its TOML key, variable and value."),
    "key": ("stepdown.cli.setup", "Make an API key and the hash that lets it in."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is run, and not to list it.

    Args:
        table: Module and line of help of each command, by its name; the module has it under that name.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of their use."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.table:
            return None
        command: click.Command = getattr(
            importlib.import_module(self.table[cmd_name][0]), cmd_name.replace("-", "_")
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stepdown")
def cli() -> None:
    """Stepdown: start on the strongest model, step down where the evidence allows."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors that Stepdown raises on purpose end as one line and exit code 2."""
    from stepdown.errors import StepdownError

    try:
        return cli.main(args=arguments, prog_name="stepdown")
    except StepdownError as error:
        click.echo(f"stepdown: {error}", err=True)
        sys.exit(2)
