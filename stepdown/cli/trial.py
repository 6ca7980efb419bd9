"""`stepdown trial`: prompt variants over a suite, before anything is cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from stepdown.cli.options import open_ledger, settings_option
from stepdown.cli.suites import SUITE, conclude, read_suite, run_plan, served, suite_options
from stepdown.settings import Settings


@click.command()
@settings_option
@click.argument("suite_file", metavar="SUITE", type=SUITE)
@click.option("--model", required=True, help="Alias of the model.")
@click.option(
    "--prompts",
    required=True,
    help="Files with commas between: each a system prompt, or TOML with [variants.NAME].",
)
@click.option(
    "--samples", type=click.IntRange(1, 16), default=1, show_default=True, help="Answers asked for to a case."
)
@suite_options
def trial(settings: Settings, suite_file: Path, **options: Any) -> None:
    """Try prompt variants over SUITE against the requests as they are."""
    from evals.harness.evaluate import TRIAL, Plan
    from evals.harness.text import evaluation_lines
    from evals.harness.trial import AS_IS, read_variants, trial_lines

    suite, ledger = read_suite(settings, suite_file, options), open_ledger(settings)
    with served(settings, suite, options["recording"]) as models:
        paths = [Path(name.strip()) for name in options["prompts"].split(",") if name.strip()]
        plan = Plan(
            suite=suite,
            contenders=read_variants(paths, models.declared(options["model"]), samples=options["samples"]),
            baseline=AS_IS,
            settings=models.settings,
            environ=os.environ,
            purpose=TRIAL,
            identities=models.identities,
            untimed=frozenset(models.identities),
            concurrency=options["concurrency"],
            notes=models.notes if options["model"] in models.identities else (),
        )
        done = run_plan(ledger, plan)
    click.echo("\n".join(evaluation_lines(done.evaluation)))
    click.echo("\n" + "\n".join(trial_lines(done.evaluation)))
    conclude(ledger, done, options)
