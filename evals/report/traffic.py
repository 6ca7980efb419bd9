"""What came in and what was called: counts, tokens, money. Pure: tables in, values out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evals.metrics.intervals import Estimate, mean_outcome
from evals.outcomes import Outcomes
from evals.report.tree import CallLine, Count, Received, Served, SliceLine
from stepdown.records import ANSWERING, Mode, Reason, Tier, Verdict

UNTAGGED = "(untagged)"


def served(outcomes: Outcomes) -> Served | None:
    """What came in, or None where nothing did."""
    requests = outcomes.requests
    if requests.empty:
        return None
    return Served(
        start=requests["at"].min().to_pydatetime(),
        end=requests["at"].max().to_pydatetime(),
        requests=len(requests),
        distinct_prompts=int(requests["prompt_hash"].nunique()),
        undecided=int(requests["mode"].isna().sum()),
        modes=_counts(requests["mode"]),
        reasons=_counts(requests["reason"]),
        statuses=_counts(requests["status"]),
    )


def call_lines(outcomes: Outcomes, confidence: float) -> tuple[CallLine, ...]:
    """Calls by model and role, dearest first."""
    calls = _with_prompt(outcomes)
    lines = [
        _call_line(names, group, confidence)
        for names, group in calls.groupby(["model", "tier", "role"], sort=True)
    ]
    return tuple(sorted(lines, key=lambda line: (-line.cost_usd_micros, line.model, line.role)))


def received(outcomes: Outcomes, confidence: float) -> tuple[Received, ...]:
    """Quality of the answers that clients received, by model."""
    calls = _with_prompt(outcomes)
    answers = calls[calls["ok"] & calls["role"].isin(ANSWERING)].drop_duplicates("request", keep="last")
    return tuple(
        Received(
            model=str(model),
            tier=str(tier),
            answers=len(group),
            good=labelled_mean(group, confidence),
            unscored=int((group["verdict"] == Verdict.UNSCORED).sum()),
            unlabelled=int(group["verdict"].isna().sum()),
        )
        for (model, tier), group in answers.groupby(["model", "tier"], sort=True)
    )


def routed(outcomes: Outcomes) -> Outcomes:
    """The requests that a router could decide on: mode route, no model named."""
    requests = outcomes.requests
    return outcomes.where((requests["mode"] == Mode.ROUTE) & (requests["reason"] != Reason.NAMED))


def coverage(requests: pd.DataFrame, confidence: float) -> Estimate:
    """Share of answered requests that small answered."""
    answered = requests.dropna(subset=["answered"])
    small = (answered["answered"] == Tier.SMALL).astype(float)
    return mean_outcome(small, groups=answered["prompt_hash"], confidence=confidence)


def slice_lines(outcomes: Outcomes, confidence: float) -> tuple[SliceLine, ...]:
    """One line a slice, largest first; qualities from pairs, where both models answered."""
    requests = outcomes.requests
    if requests["slice"].isna().all():
        return ()
    in_route, pairs = routed(outcomes).requests, outcomes.drawn_pairs
    lines = []
    for name, group in requests.groupby(requests["slice"].fillna(UNTAGGED), sort=True):
        of_slice = pairs[pairs["slice"].fillna(UNTAGGED) == name]
        groups = of_slice["prompt_hash"]
        lines.append(
            SliceLine(
                name=str(name),
                requests=len(group),
                share=len(group) / len(requests),
                coverage=coverage(in_route[in_route["slice"].fillna(UNTAGGED) == name], confidence),
                strong=mean_outcome(of_slice["strong_good"], groups=groups, confidence=confidence),
                small=mean_outcome(of_slice["small_good"], groups=groups, confidence=confidence),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.requests, line.name)))


def labelled_mean(calls: pd.DataFrame, confidence: float) -> Estimate:
    """Share of good answers among the calls labelled good or bad, and not because they were interesting."""
    scored = calls[calls["drawn"]]
    return mean_outcome(scored["good"], groups=scored["prompt_hash"], confidence=confidence)


def _with_prompt(outcomes: Outcomes) -> pd.DataFrame:
    prompts = outcomes.requests.set_index("id")["prompt_hash"]
    return outcomes.calls.assign(prompt_hash=outcomes.calls["request"].map(prompts))


def _counts(values: pd.Series[Any]) -> tuple[Count, ...]:
    counts = values.dropna().value_counts()
    pairs = sorted(zip(counts.index, counts, strict=True), key=lambda pair: (-pair[1], str(pair[0])))
    return tuple(Count(str(name), int(count)) for name, count in pairs)


def _call_line(names: Any, group: pd.DataFrame, confidence: float) -> CallLine:
    model, tier, role = names
    ok = group["ok"]
    return CallLine(
        model=str(model),
        tier=str(tier),
        role=str(role),
        calls=len(group),
        failed=int((~ok).sum()),
        prompt_tokens=int(group["prompt_tokens"].sum()),
        completion_tokens=int(group["completion_tokens"].sum()),
        cost_usd_micros=int(group["cost_usd_micros"].sum()),
        unpriced=int((ok & group["cost_usd_micros"].isna()).sum()),
        good=labelled_mean(group, confidence),
        labelled=int(group["good"].notna().sum()),
        unscored=int((group["verdict"] == Verdict.UNSCORED).sum()),
        unlabelled=int((ok & group["verdict"].isna()).sum()),
        judged=int((group["drawn"] & ~group["trusted"]).sum()),
        estimated=int(group["usage_estimated"].sum()),
    )
