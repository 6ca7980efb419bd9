"""The frontier as plain text: one line for each bound, and what it buys."""

from __future__ import annotations

from evals.frontier.tree import Choice, Figure, Frontier
from evals.report.layout import dollars
from stepdown.settings import TaskSettings

ROW = "{:>9}  {:>8}  {:<26}  {:<28}  {}"
HEADINGS = ("bound", "regret", "coverage", "quality less strong's", "saving a month")


def frontier_lines(task: str, declared: TaskSettings, frontier: Frontier | None) -> list[str]:
    """What each bound buys.

    Args:
        task: Name of the task.
        declared: Its settings.
        frontier: The document; None where no router was fitted yet.
    """
    if frontier is None:
        return [
            f"task {task}: no router was fitted yet, so no bound buys anything; the settings say "
            f"{declared.max_quality_loss:.4g}, and `stepdown report --task {task}` says what a router needs"
        ]
    who = "set by a person" if frontier.by_hand else "as the settings say"
    return [
        f"task {task}: mode {frontier.mode}, quality loss <= {frontier.max_quality_loss:.4g} ({who})",
        f"router {frontier.router[:12]}; every bound below holds at once with confidence "
        f"{100 * frontier.together:.5g}%, from {frontier.operating.n:,} calibration prompts",
        ROW.format(*HEADINGS).rstrip(),
        *(_line(choice) for choice in frontier.choices),
        "regret: its exact upper bound; intervals at "
        f"{frontier.interval_confidence:.0%}, each for itself, from {frontier.pairs:,} held-out pairs",
        f"{frontier.calibration:,} of these pairs also chose the thresholds, "
        "so all but the regret errs a little to the good side",
        *(f"missing: {line}" for line in frontier.missing),
    ]


def _line(choice: Choice) -> str:
    named = f"{'* ' if choice.in_force else ''}{100 * choice.max_quality_loss:.4g}%"
    if choice.threshold is None:
        return f"{named:>9}  nothing goes to small: {choice.reason}"
    saving = choice.saving_a_month_usd_micros
    return ROW.format(
        named,
        f"{100 * choice.upper:.3g}%",
        _share(choice.coverage),
        _share(choice.difference),
        "not known" if saving is None else _money(saving),
    )


def _share(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "not known"
    return f"{100 * figure.value:.1f}% [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _money(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "not known"
    return f"{dollars(figure.value)} [{dollars(figure.low)}, {dollars(figure.high)}] n={figure.n:,}"
