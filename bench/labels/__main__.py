"""`python -m bench.labels --gsm8k FILE`: a check beside published marks, and the intervals' coverage."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bench.labels.adjudicate import Mismatch, Right
from bench.labels.marked import MODELS, answers_of, read_marked
from bench.labels.study import Compared, compare
from evals.checks import build_check
from evals.metrics.coverage import DRAWS, JUDGED, WRONG, coverage_table, coverage_text
from evals.metrics.intervals import Estimate
from stepdown.errors import StepdownError

CHECK = {"kind": "number"}
LEAST_COVERAGE = 0.94


@click.command()
@click.option("--gsm8k", required=True, type=click.Path(path_type=Path), help="File of marked answers.")
@click.option(
    "--draws", default=DRAWS, show_default=True, type=click.IntRange(min=1000), help="Draws a line."
)
def main(gsm8k: Path, draws: int) -> None:
    """Compare the numeric check with published marks, and simulate intervals under a biased judge."""
    try:
        rows = read_marked(gsm8k)
    except StepdownError as error:
        click.echo(f"bench.labels: {error}", err=True)
        sys.exit(2)
    check = build_check("number", CHECK)
    found = [compare(model, answers_of(rows, model), check) for model in MODELS]
    for compared in found:
        click.echo("\n".join(as_text(compared)) + "\n")
    table = coverage_table(draws=draws)
    click.echo("\n".join(_simulated(draws)))
    click.echo("\n".join(f"  {line}" for line in coverage_text(table)))
    least, naive = (min(getattr(row, name) for row in table) for name in ("powered", "naive"))
    click.echo(f"  least coverage: prediction-powered {least:.1%}, naive {naive:.1%}")
    if least < LEAST_COVERAGE - _chance(draws) or not all(compared.met for compared in found):
        click.echo("bench.labels: an agreement or a coverage is below what was asked for", err=True)
        sys.exit(1)


def _chance(draws: int) -> float:
    """How far a coverage of so many draws may fall by chance: three standard errors."""
    return 3 * math.sqrt(LEAST_COVERAGE * (1 - LEAST_COVERAGE) / draws)


def as_text(compared: Compared) -> Iterator[str]:
    """A comparison as lines."""
    model, found, counts = compared.model, compared.agreement, compared.agreement.confusion
    asked, kappa = "met" if compared.met else "NOT MET", found.kappa
    yield f"NUMERIC CHECK against {model.mark}, answers of the {model.name} model, n={compared.answers}"
    yield f"  agreement    {_percent(found.share)}; asked for at least {model.least:.0%}: {asked}"
    yield f"  kappa        {kappa.value:.3f} [{kappa.low:.3f}, {kappa.high:.3f}], approximate"
    yield f"  sensitivity  {_percent(found.sensitivity)}: of answers marked right, good to the check"
    yield f"  specificity  {_percent(found.specificity)}: of answers marked wrong, bad to the check"
    yield "  confusion    marked right: {} good, {} bad; marked wrong: {} good, {} bad".format(*counts)
    if compared.unscored:
        yield f"  unscored     {compared.unscored} answers, left out"
    yield f"  the marks    {compared.reproduced} of {compared.answers} are what an answer's last digits give"
    said = ", ".join(f"{who} {compared.right[who]}" for who in Right)
    yield f"  mismatches   {len(compared.mismatches)}; right is: {said}"
    for mismatch in compared.mismatches:
        yield from _mismatch(mismatch)


def _mismatch(one: Mismatch) -> Iterator[str]:
    mark, check = ("right" if one.answer.marked_good else "wrong"), ("good" if one.check_good else "bad")
    yield (
        f"    {one.answer.id}  reference {one.answer.reference:g}, marked {mark}, check says {check}: "
        f"{one.right} is right" + (" about it" if one.right is not Right.UNDECIDED else "")
    )
    yield f"      {one.why}"


def _simulated(draws: int) -> Iterator[str]:
    yield f"COVERAGE of 95% intervals, {draws:,} draws a line (widths in points)"
    yield f"  {JUDGED:,} judged and few trusted answers; the judge is wrong on {WRONG:.0%} of all, in one"
    yield "  direction: harsh calls good ones bad; lenient calls bad ones good (all, where they are fewer)."


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * share for share in estimate[:3])
    return f"{value:.1f}% [{low:.1f}, {high:.1f}] n={estimate.n}, exact"


if __name__ == "__main__":
    main()
