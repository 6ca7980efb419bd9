"""The report's part on labels: how far each labeller can be trusted, and what that makes of the quality.

Invariant: an estimate that rests on judges' word stands beside the one that does not, and none that is called
valid rests on who chose to speak: users' words help only where a judge ruled too. Only `read_labels` reads
the ledger; the estimates are made from tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from evals.judge.audits import JudgeAudit
from evals.judge.injection import newest_audit
from evals.labeller_error import LabellerErrors, labeller_errors
from evals.metrics.intervals import Estimate, mean_outcome, paired_difference
from evals.metrics.ppi import POWERED, Powered, powered_difference, powered_mean
from evals.outcomes import Outcomes
from stepdown.ledger import Ledger
from stepdown.records import ANSWERING
from stepdown.settings import TaskSettings

Column = pd.Series


@dataclass(frozen=True, slots=True)
class QualityLine:
    """One quality, estimated three ways.

    Attributes:
        name: What is estimated.
        signed: Whether it is a difference.
        trusted: From representative trusted labels alone.
        naive: From all labels as if they were true; a biased judge makes it wrong, however short it is.
        powered: From the trusted ones, helped by the judged.
    """

    name: str
    signed: bool
    trusted: Estimate
    naive: Estimate
    powered: Powered


@dataclass(frozen=True, slots=True)
class Labels:
    """All that the report says of labels.

    Attributes:
        quality: Where judges or users labelled; all of the period.
        audits: What newest audits of the task's judges found.
    """

    errors: LabellerErrors
    quality: tuple[QualityLine, ...]
    audits: tuple[JudgeAudit, ...]


def read_labels(
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    everything: Outcomes,
    period: Outcomes,
    confidence: float,
    say: Callable[[Callable[[], JudgeAudit | None]], JudgeAudit | None],
) -> Labels | None:
    """The labels of a task; None where only checks label, and nothing contradicts them.

    Args:
        ledger: Where labels and audits are.
        task_name: The task.
        task: Its settings.
        everything: All its outcomes: errors of labellers are of all time.
        period: The report's.
        confidence: Of the intervals.
        say: Gives what it is given to make, or None where that fails, and notes the reason.
    """
    errors = labeller_errors(ledger, task_name, task, everything)
    found = [say(partial(newest_audit, ledger, task_name, name)) for name in task.judges]
    audits = tuple(audit for audit in found if audit is not None)
    only_checks = all(line.labeller.startswith("check:") for line in errors.lines)
    if only_checks and not audits and not errors.suspects.found:
        return None
    return Labels(errors, quality_lines(period, confidence), audits)


def quality_lines(outcomes: Outcomes, confidence: float) -> tuple[QualityLine, ...]:
    """The qualities that judged labels have a part in."""
    pairs, received = outcomes.drawn_pairs, _received(outcomes)
    if not received["judged"].notna().any() and not _both(pairs, "judged").any():
        return ()
    lines = [_mean("received by clients", received, "", confidence)] if len(received) else []
    if len(pairs):
        lines += [_mean(f"{tier}, of pairs", pairs, f"{tier}_", confidence) for tier in ("strong", "small")]
        lines.append(_difference("small minus strong", pairs, confidence))
    return tuple(lines)


def _received(outcomes: Outcomes) -> pd.DataFrame:
    calls = outcomes.calls[outcomes.calls["ok"] & outcomes.calls["role"].isin(ANSWERING)]
    last = calls.drop_duplicates("request", keep="last")
    prompts = outcomes.requests.set_index("id")["prompt_hash"]
    return last[last["drawn"]].assign(prompt_hash=last["request"].map(prompts))


def _mean(name: str, rows: pd.DataFrame, tier: str, confidence: float) -> QualityLine:
    good, judged, groups = rows[f"{tier}good"], rows[f"{tier}judged"], rows["prompt_hash"]
    truth, has = (rows[f"{tier}{flag}"].to_numpy(bool) for flag in ("representative", "ruled"))
    trusted = mean_outcome(good[truth], groups=groups[truth], confidence=confidence)
    powered = powered_mean(
        good[truth & has],
        judged[truth & has],
        judged[~truth & has],
        groups=groups[truth & has],
        judged_groups=groups[~truth & has],
        confidence=confidence,
    )
    naive = mean_outcome(good, groups=groups, confidence=confidence)
    return QualityLine(name, False, trusted, naive, _or_all_trusted(powered, trusted))


def _or_all_trusted(powered: Powered, trusted: Estimate) -> Powered:
    """Where the judged labels help nothing, the trusted ones stand alone: all of them, judged too or not."""
    return powered if powered.method == POWERED else powered._replace(estimate=trusted)


def _difference(name: str, pairs: pd.DataFrame, confidence: float) -> QualityLine:
    truth, has = _both(pairs, "representative"), _both(pairs, "ruled")
    groups = pairs["prompt_hash"]

    def of(column: str, rows: pd.Series[bool]) -> tuple[Column[float], Column[float]]:
        return pairs.loc[rows, f"small_{column}"], pairs.loc[rows, f"strong_{column}"]

    trusted = paired_difference(*of("good", truth), confidence, groups=groups[truth])
    naive = paired_difference(*of("good", truth | True), confidence, groups=groups)
    powered = powered_difference(
        of("good", truth & has),
        of("judged", truth & has),
        of("judged", ~truth & has),
        groups=groups[truth & has],
        judged_groups=groups[~truth & has],
        confidence=confidence,
    )
    return QualityLine(name, True, trusted, naive, _or_all_trusted(powered, trusted))


def _both(pairs: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Whether both sides of each pair have something: a flag that is set, or a value that is not missing."""
    strong, small = pairs[f"strong_{column}"], pairs[f"small_{column}"]
    if column == "judged":
        return strong.notna() & small.notna()
    return strong.astype(bool) & small.astype(bool)
