"""The command that shows what a task's bound buys, and sets it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.ledger import Ledger
from stepdown.settings import Settings

if TYPE_CHECKING:
    from evals.frontier import Frontier


class Share(click.ParamType[float]):
    """A share of requests: `0.02` or `2%`."""

    name = "share"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; whether it makes sense is for those who take it."""
        try:
            return float(f"{value[:-1]}e-2") if value.endswith("%") else float(value)
        except ValueError:
            self.fail(f"{value!r} is no share of requests: write 0.02 or 2%", param, ctx)


@click.command()
@settings_option
@task_option
@click.argument("value", type=Share(), required=False)
@click.option("--yes", is_flag=True, help="Set it without being asked.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the record.")
def bound(settings: Settings, task: str, value: float | None, yes: bool, reason: str) -> None:
    """Show what each allowed quality loss buys; with VALUE (0.02 or 2%), set it after showing the change.

    A stricter bound takes effect at once. `stepdown rollback` puts the bound from before back.
    """
    from evals.bounds import apply, propose
    from evals.frontier.text import frontier_lines

    declared_task(settings, task)
    ledger = open_ledger(settings)
    found = _frontier(ledger, settings, task)
    if value is None:
        click.echo("\n".join(frontier_lines(task, settings.tasks[task], found)))
        return
    proposal = propose(ledger, settings, task, value, frontier=found)
    click.echo("\n".join(proposal.lines()))
    if not yes:
        click.confirm("Set this bound?", abort=True)
    done = apply(
        ledger, settings, task, proposal, actor=getpass.getuser(), reason=reason, after=proposal.after
    )
    click.echo(f"promotion {done.sequence}: mode {done.mode}, quality loss <= {value:.4g}")


def _frontier(ledger: Ledger, settings: Settings, task: str) -> Frontier | None:
    """What the workers kept of what is in force now, or else the same made now."""
    from evals.frontier import frontier_document, kept_frontier
    from evals.outcomes import read_outcomes
    from stepdown.registry import Registry

    kept, current = kept_frontier(ledger, task), Registry(ledger).current(task)
    if kept is not None and kept.sequence == (current.sequence if current else 0):
        return kept
    outcomes = read_outcomes(ledger, task, audit_share=settings.tasks[task].audit_share)
    return frontier_document(ledger, settings, task, outcomes)
