"""The cost-quality curve as a picture. Draws what the report holds and computes nothing else."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evals.metrics.intervals import Estimate
from evals.report.layout import decimal, dollars
from evals.report.tree import Curves, Report
from stepdown.errors import StepdownError

INK, GREY, PALE = "#1b1f24", "#6e7781", "#d0d7de"
ROUTER, BOUND = "#0550ae", "#a40e26"
BASELINES = {
    "random": ("#8c959f", (0, (1, 1.5))),
    "prompt length": ("#bf8700", (0, (4, 2))),
    "kNN": ("#1a7f37", (0, (6, 2))),
    "per-slice mean": ("#8250df", (0, (3, 1, 1, 1))),
}


def write_png(report: Report, path: str | Path) -> None:
    """Draw the cost-quality curve; where there is none yet, say what it needs.

    Raises:
        StepdownError: The file cannot be written.
    """
    figure = Figure(figsize=(10.0, 5.4), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if report.curves is None:
        _explain(axes, report)
    else:
        _draw(axes, report, report.curves)
    try:
        figure.savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise StepdownError(f"the picture {str(path)!r} cannot be written: {error.strerror}") from error


def _explain(axes: Axes, report: Report) -> None:
    axes.axis("off")
    lines = "\n".join(report.missing) or "no router was fitted yet"
    axes.text(0.5, 0.5, f"No cost-quality curve yet.\n\n{lines}", ha="center", va="center", wrap=True)


def _draw(axes: Axes, report: Report, curves: Curves) -> None:
    _style(axes)
    share = curves.strong_share
    axes.fill_between(share, curves.low, curves.high, color=ROUTER, alpha=0.12, linewidth=0)
    for place, ranking in enumerate(curves.rankings):
        colour, dashes = (ROUTER, "-") if place == 0 else BASELINES.get(ranking.name, (GREY, "--"))
        width, order = (2.4, 4) if place == 0 else (1.4, 3)
        line = axes.plot(share, ranking.quality_curve, color=colour, linewidth=width, zorder=order)[0]
        line.set(linestyle=dashes, label=f"{ranking.name}\nAPGR {decimal(ranking.apgr)}")
    _points(axes, curves)
    floor = curves.strong.value - curves.epsilon
    label = f"promised: at most {100 * curves.epsilon:g}%\nbelow always strong"
    axes.axhline(floor, color=BOUND, linewidth=1.2, linestyle=(0, (5, 3)), label=label)
    _titles(axes, report, curves)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        labelspacing=0.9,
    )


def _points(axes: Axes, curves: Curves) -> None:
    strong_share = 1 - curves.coverage.value
    _point(axes, 1.0, curves.strong, "s", INK, "always strong")
    _point(axes, 0.0, curves.small, "s", GREY, "always small")
    _point(axes, strong_share + 0.008, curves.shuffle, "X", GREY, "cost-matched shuffle")
    _point(axes, strong_share, curves.policy, "o", ROUTER, "the policy at its threshold")


def _point(axes: Axes, x: float, y: Estimate, marker: str, colour: str, label: str) -> None:
    error = [[y.value - y.low], [y.high - y.value]]
    axes.errorbar(
        x,
        y.value,
        yerr=error,
        fmt=marker,
        color=colour,
        markersize=8,
        markeredgecolor="white",
        elinewidth=1.2,
        capsize=3,
        label=label,
        zorder=6,
        clip_on=False,
    )


def _style(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.grid(color=PALE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=9)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _titles(axes: Axes, report: Report, curves: Curves) -> None:
    small, strong = curves.small_usd_micros, curves.strong_usd_micros
    costs = (
        f"  ({dollars(1000 * small)} to {dollars(1000 * strong)} per 1,000 requests)".replace("$", r"\$")
        if small is not None and strong is not None
        else ""
    )
    axes.set_xlabel(f"requests answered by the strong model{costs}", color=INK, fontsize=10)
    axes.set_ylabel("good answers", color=INK, fontsize=10)
    axes.set_title(
        f"Quality against cost: {100 * curves.coverage.value:.0f}% answered by the small model",
        loc="left",
        color=INK,
        fontsize=13,
        fontweight="bold",
        pad=22,
    )
    band = f"bands and bars are {report.confidence:.0%} intervals"
    note = f"task {report.task}, n = {curves.pairs:,} held-out pairs, {band}"
    axes.text(0, 1.025, note, transform=axes.transAxes, color=GREY, fontsize=9)
