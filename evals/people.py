"""People's labels as a table: who said what of which request, and where they contradict one another.

Invariant: one row a request and person, of their newest labels; who skipped has said nothing and has no row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from sqlalchemy import select

from router.people.votes import PERSON_PREFIX
from stepdown.ledger import Ledger, schema
from stepdown.records import Tier, Verdict

COLUMNS = (
    "request",
    "prompt_hash",
    "annotator",
    "at",
    "kind",
    "verdict",
    "strong_good",
    "small_good",
    "evidence",
)
CONTRADICTION_COLUMNS = ("request", "prompt_hash", "people", "verdicts")
GOOD_COLUMNS = ("strong_good", "small_good")

_r, _c, _l = schema.requests, schema.calls, schema.labels


def people_frame(ledger: Ledger, task: str) -> pd.DataFrame:
    """What people say of a task's answers.

    Returns:
        One row a request and person: `request`, `prompt_hash`, `annotator` (without `person:`), `at`,
        `kind` (`pair` or `single`), `verdict` (of a pair `strong`, `small`, `tie` or `bad`, which is
        both; of a single answer `good` or `bad`), `strong_good` and `small_good` (1, 0 or missing),
        `evidence` (their words on the answer).

    Raises:
        LedgerError: The ledger cannot be read.
    """
    columns = (_r.c.id.label("request"), _r.c.prompt_hash, _c.c.tier, _l)
    statement = (
        select(*columns)
        .select_from(_l.join(_c, _c.c.id == _l.c.subject).join(_r, _r.c.id == _c.c.request))
        .where(_r.c.task == task, _l.c.labeller.startswith(PERSON_PREFIX, autoescape=True))
        .order_by(_l.c.at, _l.c.version)
    )
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for label in ledger.rows(statement):  # a later one takes the place of an earlier one
        newest.setdefault((label.request, label.labeller), {})[label.tier] = label
    rows = [row for labels in newest.values() if (row := _row(labels)) is not None]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    for name in GOOD_COLUMNS:
        frame[name] = frame[name].astype(float)
    return frame.sort_values(["at", "request"], kind="stable").reset_index(drop=True)


def _row(labels: dict[str, Any]) -> list[Any] | None:
    """The row of one person's newest labels by tier."""
    said = {tier: label for tier, label in labels.items() if label.verdict != Verdict.UNSCORED}
    if not said:
        return None
    last = max(said.values(), key=lambda label: label.at)
    good = [float(said[tier].verdict == Verdict.GOOD) if tier in said else None for tier in Tier]
    return [
        last.request,
        last.prompt_hash,
        last.labeller.removeprefix(PERSON_PREFIX),
        last.at,
        "pair" if len(said) == 2 else "single",
        _verdict(said),
        *good,
        last.evidence,
    ]


def _verdict(said: dict[str, Any]) -> str:
    if len(said) == 1:
        (label,) = said.values()
        return str(label.verdict)
    strong, small = said[Tier.STRONG], said[Tier.SMALL]
    if strong.score != small.score:
        return (Tier.STRONG if strong.score > small.score else Tier.SMALL).value
    return "tie" if strong.verdict == Verdict.GOOD else Verdict.BAD.value


def contradictions(frame: pd.DataFrame) -> pd.DataFrame:
    """Requests on which some answer is good to one person and bad to another.

    Args:
        frame: As `people_frame` gives it.

    Returns:
        One row a request: `request`, `prompt_hash`, `people` (how many), `verdicts` (who said what).
    """
    rows = [
        [request, group["prompt_hash"].iloc[0], len(group), _said(group)]
        for request, group in frame.groupby("request", sort=False)
        if any(group[name].nunique() > 1 for name in GOOD_COLUMNS)
    ]
    return pd.DataFrame(rows, columns=list(CONTRADICTION_COLUMNS))


def _said(group: pd.DataFrame) -> str:
    pairs: Iterable[tuple[str, str]] = zip(group["annotator"], group["verdict"], strict=True)
    return ", ".join(f"{annotator}: {verdict}" for annotator, verdict in pairs)
