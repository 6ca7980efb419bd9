"""What routing costs in quality: the audit of explored requests, and the promise in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evals.metrics.intervals import mean_outcome, paired_difference
from evals.outcomes import Outcomes
from evals.promotion import JUDGED_BY
from evals.report.tree import Audit, Promise
from evals.verdicts import GOOD_FROM
from stepdown.records import Mode


def audit(outcomes: Outcomes, confidence: float) -> Audit:
    """The audit of explored requests of mode route, each judged by the router that scored it.

    They are drawn at random whatever the router said, and both models answered each of them, so their
    mean is that of all routed requests, without bias and without a model of anything.
    """
    requests = outcomes.requests
    explored = requests["explored"] & (requests["mode"] == Mode.ROUTE) & requests["gain"].notna()
    pairs = outcomes.drawn_pairs
    rows = pairs[pairs["id"].isin(requests.loc[explored, "id"])]
    strong, small, groups = rows["strong_good"], rows["small_good"], rows["prompt_hash"]
    takes_small = rows["gain"] <= rows["threshold"]
    policy = small.where(takes_small, strong)
    regret = takes_small & (strong >= GOOD_FROM) & (small < GOOD_FROM)
    truly = rows["strong_representative"].astype(bool) & rows["small_representative"].astype(bool)
    return Audit(
        explored=int(explored.sum()),
        audited=len(rows),
        judged=int((~truly).sum()),
        policy=mean_outcome(policy, groups=groups, confidence=confidence),
        strong=mean_outcome(strong, groups=groups, confidence=confidence),
        difference=paired_difference(policy, strong, confidence, groups=groups),
        regrets=int(regret.sum()),
        regret=mean_outcome(regret.astype(float), groups=groups, confidence=confidence),
    )


def promise(artifact: str, settings: Mapping[str, Any], summary: Mapping[str, Any]) -> Promise:
    """The bound that a router was kept with."""
    return Promise(
        artifact=artifact,
        epsilon=float(settings["epsilon"]),
        delta=float(settings["delta"]),
        spent=_number(summary, "delta"),
        upper=_number(summary, "upper"),
        n=_whole(summary, "n"),
        regrets=_whole(summary, "regrets"),
        coverage=_number(summary, "coverage"),
        threshold=_number(summary, "threshold"),
        reason=str(summary.get("certificate", {}).get("reason", "")),
        judged_by=tuple(summary.get(JUDGED_BY, ())),
    )


def _number(summary: Mapping[str, Any], name: str) -> float | None:
    value = summary.get("certificate", {}).get(name)
    return float(value) if isinstance(value, int | float) and pd.notna(value) else None


def _whole(summary: Mapping[str, Any], name: str) -> int | None:
    value = _number(summary, name)
    return None if value is None else int(value)
