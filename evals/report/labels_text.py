"""The report's part on labels as plain text; `stepdown labels` prints the same."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from evals.judge.audits import JudgeAudit, audit_lines
from evals.labeller_error import LISTED, Contradiction, LabellerErrors, LabellerLine, PeoplePair
from evals.metrics.fusion import PRESUMED
from evals.metrics.intervals import Estimate
from evals.metrics.ppi import POWERED
from evals.report.labels import Labels, QualityLine
from evals.report.layout import WIDTH, percent, signed_decimal, table
from evals.suspects import LOOKED_AT, Suspect, Suspects


def label_sections(labels: Labels) -> list[list[str]]:
    """The sections of the report; those that have nothing to say are empty."""
    lines, *others = error_sections(labels.errors)
    return [lines, quality_section(labels.quality), *others, audit_section(labels.audits)]


def error_sections(errors: LabellerErrors) -> list[list[str]]:
    """What is known of labellers and what contradicts what; empty where there is nothing to say."""
    return [
        labeller_section(errors),
        people_section(errors.people, errors.pairs),
        contradiction_section(errors.contradictions, errors.contradicted),
        suspect_section(errors.suspects),
    ]


def labeller_section(errors: LabellerErrors) -> list[str]:
    """Each labeller beside those who are trusted."""
    if not errors.lines:
        return []
    header = ("labeller", "against", "n", "agrees", "kappa", "finds good", "finds bad")
    rows = [
        (
            line.labeller,
            line.against,
            f"{line.agreement.confusion.n:,}",
            _whole(line.agreement.share),
            signed_decimal(line.agreement.kappa),
            _whole(line.agreement.sensitivity),
            _whole(line.agreement.specificity),
        )
        for line in _measured(errors.lines)
    ]
    notes = [
        "Finds good: of the answers that are good, those that it calls good; likewise bad. Measured on what "
        "checks label and on people's labels of the audit sample. Shares are exact, kappas approximate."
    ]
    silent = {line.labeller: line.unscored for line in errors.lines if line.unscored}
    if silent:
        notes.append(
            f"Could not tell: {', '.join(f'{name} of {n:,}' for name, n in silent.items())} answers."
        )
    notes += [
        f"On {tier}'s answers too few trusted labels stand beside judges' and users' to tell what those are "
        f"worth: each is presumed right {PRESUMED:.0%} of the time."
        for tier in errors.presumed
    ]
    notes += [f"{line}." for line in errors.left_out]
    return ["LABELLERS", *table(header, rows, left=2), *_paragraphs(notes)]


def quality_section(lines: Sequence[QualityLine]) -> list[str]:
    """Qualities, estimated from trusted labels, from trusted and judged ones, and naively."""
    if not lines:
        return []
    header = ("good answers", "n trusted", "alone", "prediction-powered", "n judged", "naive")
    rows = [
        (
            line.name,
            f"{line.trusted.n:,}",
            percent(line.trusted, signed=line.signed, n=False),
            percent(line.powered.estimate, signed=line.signed, n=False) + _star(line),
            f"{line.powered.judged:,}",
            percent(line.naive, signed=line.signed, n=False),
        )
        for line in lines
    ]
    notes = [
        "Alone: from trusted labels. Prediction-powered: few of them correct many judged ones; valid however "
        "wrong the judges are, approximate. Naive: all labels, fused, as if they were true."
    ]
    if any(map(_star, lines)):
        notes.append("* Too few answers have both a trusted and a judged label: the trusted ones alone.")
    return ["QUALITY from few trusted and many judged labels", *table(header, rows), *_paragraphs(notes)]


def people_section(people: Estimate, pairs: Sequence[PeoplePair]) -> list[str]:
    """How far people agree with one another."""
    if not people.n:
        return []
    header = ("people", "kappa")
    rows = [("all, Krippendorff's alpha", signed_decimal(people, n=True))]
    rows += [
        (f"{_bare(pair.first)} and {_bare(pair.second)}", signed_decimal(pair.kappa, n=True))
        for pair in pairs
    ]
    return ["AGREEMENT BETWEEN PEOPLE, on answers that several labelled", *table(header, rows)]


def contradiction_section(listed: Sequence[Contradiction], found: int) -> list[str]:
    """Answers on which trusted labellers contradict one another."""
    if not found:
        return []
    header = ("request", "answer of", "good to", "bad to")
    rows = [(one.request, one.tier, ", ".join(one.good), ", ".join(one.bad)) for one in listed]
    head = f"CONTRADICTIONS  {found:,} answers that one trusted labeller calls good and another bad"
    return [head + _first(found), *table(header, rows, left=4)]


def suspect_section(suspects: Suspects) -> list[str]:
    """References that both models contradict."""
    if not suspects.looked_at:
        return []
    looked_at = f"{suspects.looked_at:,}" + (" newest" if suspects.looked_at == LOOKED_AT else "")
    head = (
        f"REFERENCES THAT BOTH MODELS CONTRADICT  {looked_at}, hard or wrong; {suspects.found:,} of them are "
        f"suspect{_first(suspects.looked_at)}"
    )
    return [*textwrap.wrap(head, WIDTH), *(line for one in suspects.listed for line in _suspect(one))]


def audit_section(audits: Sequence[JudgeAudit]) -> list[str]:
    """How judges bear text that wants to be judged well."""
    lines = [f"  {line}" for audit in audits for line in audit_lines(audit)]
    return ["AUDITS OF JUDGES", *lines] if lines else []


def _suspect(one: Suspect) -> Iterator[str]:
    yield from textwrap.wrap(
        f"{one.request}  {one.check}, reference {one.reference}: {one.why}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
    )
    for name, text in (("strong", one.strong), ("small", one.small)):
        yield from textwrap.wrap(
            f"{name}: {text}", WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=True
        )


def _whole(share: Estimate) -> str:
    """A share and its interval in whole percents."""
    if not share.n or math.isnan(share.value):
        return percent(share, n=False)
    return f"{100 * share.value:.0f}% [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _first(found: int) -> str:
    return f"; the newest {LISTED}" if found > LISTED else ""


def _bare(labeller: str) -> str:
    return labeller.partition(":")[2]


def _measured(lines: Sequence[LabellerLine]) -> list[LabellerLine]:
    """The lines without the empty ones of labellers that were measured against somebody else."""
    known = {line.labeller for line in lines if line.agreement.confusion.n}
    return [line for line in lines if line.agreement.confusion.n or line.labeller not in known]


def _star(line: QualityLine) -> str:
    return "" if line.powered.method == POWERED else " *"


def _paragraphs(notes: Iterable[str]) -> list[str]:
    return [f"  {line}" for note in notes for line in textwrap.wrap(note, WIDTH - 2)]
