"""`python -m bench.routing FILE...`: the router against the baselines, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from bench.routing.outcomes import SMALL, STRONG, Outcomes, read_outcomes
from bench.routing.speed import Speed, measure
from bench.routing.study import FOLDS, STATISTICS, Study, study
from stepdown.errors import StepdownError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strong", default=STRONG, show_default=True, help="Column of the strong model's outcome.")
@click.option("--small", default=SMALL, show_default=True, help="Column of the small model's outcome.")
@click.option(
    "--labels", type=click.IntRange(min=20), help="At most so many labels in each fit; all if unset."
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="How many seeds.")
@click.option("--first-seed", default=0, show_default=True, help="The first of them.")
@click.option("--draws", default=1000, show_default=True, type=click.IntRange(min=100), help="Resamples.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(
    files: Sequence[Path],
    strong: str,
    small: str,
    labels: int | None,
    seeds: int,
    first_seed: int,
    draws: int,
    as_json: bool,
) -> None:
    """Score recorded outcomes with routers that never saw them, and with the baselines."""
    results = []
    for file in files:
        try:
            outcomes = read_outcomes(file, strong=strong, small=small)
        except StepdownError as error:
            raise click.ClickException(str(error)) from error
        found = _studied(outcomes, range(first_seed, first_seed + seeds), labels, draws)
        speed = measure(outcomes)
        results.append(as_values(found, speed))
        if not as_json:
            click.echo(as_text(found, speed))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=2).decode())


def _studied(outcomes: Outcomes, seeds: Sequence[int], labels: int | None, draws: int) -> Study:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        folds = progress.add_task(outcomes.name, total=len(seeds) * FOLDS)
        return study(
            outcomes, seeds=seeds, labels=labels, draws=draws, on_fold=lambda: progress.advance(folds)
        )


def as_values(found: Study, speed: Speed) -> dict[str, Any]:
    """A result as plain values."""
    scorers = {
        name: {statistic: estimate._asdict() for statistic, estimate in estimates.items()}
        for name, estimates in found.scorers.items()
    }
    return {**asdict(found), "scorers": scorers, "speed": {**asdict(speed), "ratio": speed.ratio}}


def as_text(found: Study, speed: Speed) -> str:
    """A result as a table; each estimate with its 95 % bootstrap interval."""
    lines = [
        f"{found.recording}: n={found.n}, {found.labels} labels in each fit, "
        f"{found.seeds} seeds x {FOLDS} folds; "
        f"strong right on {found.strong:.3f}, small on {found.small:.3f}",
        f"{'':<14}" + "".join(f"{name:>24}" for name in STATISTICS),
    ]
    for name, estimates in found.scorers.items():
        cells = (f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in estimates.values())
        lines.append(f"{name:<14}" + "".join(f"{cell:>24}" for cell in cells))
    lines.append(
        f"scoring a prompt takes {speed.router_us:.0f} µs (median of {speed.n}; "
        f"p99 {speed.router_p99_us:.0f} µs), "
        f"{speed.ratio:.1f} times as fast as scikit-learn's TF-IDF and two regressions "
        f"({speed.sklearn_us:.0f} µs); artifact {speed.artifact_bytes / 1000:.0f} kB\n"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
