"""What a replay found, in lines: the held-out evaluation, and the whole in short. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scipy.stats import binom

from evals.replay.holdout import HeldOut
from evals.report.layout import decimal, money, net_share, pairs, percent, wrapped_pairs
from evals.report.tree import Curves, Report
from stepdown.settings import TaskSettings

SIGNIFICANT = 0.05


def held_out_lines(held: HeldOut, task: TaskSettings, *, labels: int) -> Iterator[str]:
    """The router, fitted on `labels` prompts, and its baselines on prompts that it never saw."""
    yield f"HELD OUT, {held.strong.n:,} prompts the router never saw, both recorded answers labelled"
    yield from pairs(
        [
            ("always strong is right", percent(held.strong)),
            ("always small is right", percent(held.small)),
            ("coverage", percent(held.coverage)),
            ("policy - always strong", percent(held.difference, signed=True)),
            ("regret", f"{percent(held.regret)}: {held.regrets} regrets"),
            ("bound", _verdict(held, task)),
            ("left out", f"{held.unscored} pairs that could not be labelled"),
        ]
    )
    yield f"  APGR, where 0.5 is random; the router was fitted on {labels:,} labelled prompts"
    yield from pairs([(f"  {name}", decimal(estimate)) for name, estimate in held.apgr.items()])


def in_short(report: Report, held: HeldOut | None, task: TaskSettings, labels: int) -> Iterator[str]:
    """The few numbers that matter, each with its interval and n."""
    yield "IN SHORT"
    yield from wrapped_pairs([*_traffic(report, labels), *_worth(report), *_bound(report, held, task)])


def _traffic(report: Report, labels: int) -> Iterator[tuple[str, str]]:
    if report.served is not None:
        modes = ", ".join(f"{count.requests:,} in mode {count.name}" for count in report.served.modes)
        yield "requests served", f"{report.served.requests:,}: {modes}"
    yield "labels made", f"{labels:,}"
    if report.coverage is not None and report.coverage.n:
        yield "coverage", f"{percent(report.coverage)} of routed requests answered by the small model"
    else:
        yield "coverage", "0, nothing was routed"


def _worth(report: Report) -> Iterator[tuple[str, str]]:
    for name, bill in (("net saving, routed", report.routed_bill), ("net saving, whole", report.bill)):
        if bill is not None:
            yield name, f"{net_share(bill, n=False)} of always strong, {money(bill.net)}"
    if report.audit is not None:
        yield "quality", f"{percent(report.audit.difference, signed=True)} against always strong, audited"
    if report.curves is not None:
        yield from _at_equal_coverage(report.curves)


def _at_equal_coverage(curves: Curves) -> Iterator[tuple[str, str]]:
    yield "at equal coverage", f"router {percent(curves.policy)}, always strong {curves.strong.value:.1%}"
    others = [f"{r.name} {r.quality.value:.1%}" for r in curves.rankings[1:]]
    yield "", ", ".join([*others, f"cost-matched shuffle {curves.shuffle.value:.1%}"])


def _bound(report: Report, held: HeldOut | None, task: TaskSettings) -> Iterator[tuple[str, str]]:
    promise = report.promise
    if promise is None or promise.upper is None:
        yield "bound", "nothing is promised, and nothing routed: no router is in force"
    elif not promise.coverage:
        yield "bound", f"nothing is promised, and nothing routed: {promise.reason}"
    else:
        spent, found = promise.spent or promise.delta, f"{promise.regrets} in n={promise.n} held-out labels"
        yield "bound", f"regret <= {promise.epsilon:.1%} with confidence {1 - promise.delta:.0%}"
        yield "", f"certified: at most {promise.upper:.2%} with confidence {1 - spent:.4g}, from {found}"
    if held is not None:
        yield "", _verdict(held, task)


def _verdict(held: HeldOut, task: TaskSettings) -> str:
    """Whether the held-out prompts bear the bound out; a few more regrets than its mean may be chance."""
    n, limit = held.regret.n, task.max_quality_loss
    found = (
        f"on the held-out prompts: {held.regrets} regrets in n={n:,}, {limit:.1%} would be {limit * n:.1f}"
    )
    if held.regret.value <= limit:
        return f"kept {found}"
    chance = float(binom.sf(held.regrets - 1, n, limit))
    verdict = "refuted" if chance < SIGNIFICANT else "not refuted"
    return f"{verdict} {found}; as many or more come by chance with p = {chance:.2g}"
