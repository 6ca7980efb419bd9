"""The report of a measured night, as text."""

from __future__ import annotations

from collections.abc import Iterator

from bench.night.compare import Compared, Quality, Routing
from evals.report.layout import dollars, percent, table


def compared_lines(compared: Compared, epsilon: float, confidence: float) -> Iterator[str]:
    """What the night changed."""
    whole, *kinds = compared.quality
    test = "McNemar's exact test" if whole.tested.test == "mcnemar" else "sign-flip test"
    yield f"QUALITY on {whole.after.n:,} held-out prompts that the student was not trained on"
    yield f"  strong   {percent(whole.strong)}"
    yield f"  before   {percent(whole.before)}: the small model as declared"
    yield f"  after    {percent(whole.after)}: the student"
    yield (
        f"  change   {percent(whole.tested.difference, signed=True)}: {whole.tested.better} better, "
        f"{whole.tested.worse} worse, p = {whole.tested.p:.2g} ({test}, two-sided)"
    )
    yield ""
    yield "BY KIND OF QUERY"
    header = ("", "n", "strong", "before", "after", "change", "p")
    yield from table(header, [_kind(one) for one in kinds])
    yield ""
    yield f"ROUTING under a bound of {epsilon:.0%} with confidence {confidence:.0%}, on the same prompts"
    for name, routing in (("before", compared.before), ("after", compared.after)):
        yield from _routing(name, routing)


def _kind(one: Quality) -> tuple[str, ...]:
    return (
        one.kind or "",
        f"{one.after.n:,}",
        f"{one.strong.value:.0%}",
        percent(one.before, n=False, digits=0),
        percent(one.after, n=False, digits=0),
        percent(one.tested.difference, signed=True, n=False, digits=0),
        f"{one.tested.p:.2g}",
    )


def _routing(name: str, routing: Routing) -> Iterator[str]:
    saving = routing.saving_usd_micros
    yield f"  {name:8} coverage    {percent(routing.coverage)}, regret certified at most {routing.bound:.2%}"
    low, value, high = (dollars(1000 * end) for end in (saving.low, saving.value, saving.high))
    yield (
        f"           net saving  {value} [{low}, {high}] n={saving.n:,} per 1,000 requests, "
        f"{routing.share:.1%} of always strong"
    )
    if routing.why:
        yield f"           {routing.why}"
