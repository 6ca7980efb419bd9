"""Keeps what the gate said as an artifact, and reads it again.

Invariant: the same evidence and rules give the same artifact, so a gate that is run twice is kept once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import select

from distill.evidence import Economy, Evidence, Pairs
from distill.gate import net_saving
from distill.verdict import Verdict, as_values, from_values
from evals.metrics.intervals import Estimate, mean_outcome
from evals.report.layout import dollars
from stepdown import __version__
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry

GATE = "gate"


class Expected(NamedTuple):
    """What a candidate is expected to save within the horizon, less what it cost, and in words."""

    net_usd_micros: float
    words: str


def keep_gate(ledger: Ledger, task: str, evidence: Evidence, verdict: Verdict) -> Artifact:
    """Keep a verdict with the evidence that it rests on.

    Its summary is what `distill.gate.as_values` gives, with `quality`: the candidate's own on the sample.

    Raises:
        LedgerError: The ledger refused.
    """
    content = {"verdict": as_values(verdict), "evidence": _values(evidence)}
    return Registry(ledger).keep(
        GATE,
        task,
        msgspec.json.encode(content, order="sorted"),
        parents=(evidence.candidate, *evidence.dataset, *evidence.evaluations),
        settings={"student": evidence.candidate, "code_version": __version__},
        summary={**as_values(verdict), "quality": _quality(evidence.sample)},
    )


def read_gate(artifact: Artifact) -> Verdict:
    """The verdict that an artifact holds.

    Raises:
        ArtifactError: It is no gate, or of another version.
    """
    return from_values(_content(artifact)["verdict"])


def expected_saving(ledger: Ledger, gate: str, coverage: float) -> Expected:
    """What the candidate of a gate is expected to save at a coverage: that of the router fitted since.

    Raises:
        ArtifactError: There is no such gate, or it could not say what answers cost.
    """
    artifact = Registry(ledger).artifact(gate)
    verdict, values = read_gate(artifact), _content(artifact)["evidence"]["economy"]
    economy = Economy(
        **{**values, **{name: _floats(values[name]) for name in ("strong", "small")}, "coverage": None}
    )
    saving = net_saving(economy, Estimate(coverage, coverage, coverage, 0), verdict.rules)
    if math.isnan(saving.value):
        raise ArtifactError(f"gate {gate!r} does not know what answers cost; set the prices of both models")
    days = verdict.rules.horizon_days
    words = f"{dollars(saving.value)} in {days:g} days at a coverage of {coverage:.1%}"
    return Expected(saving.value - economy.spent, f"{words}, for {dollars(economy.spent)}")


def newest_gate(ledger: Ledger, task: str, student: str | None = None) -> Artifact | None:
    """A task's newest gate, or that of one student; None where there is none."""
    return next(iter(gates(ledger, task, student or "")), None)


def gates(ledger: Ledger, task: str, student: str = "") -> list[Artifact]:
    """A task's gates, the newest first.

    Args:
        ledger: Where they are kept.
        task: Name of the task.
        student: Only those of students whose id begins so.

    Raises:
        ArtifactError: One of them is corrupt.
    """
    table = schema.artifacts
    wanted = (table.c.kind == GATE) & (table.c.task == task)
    newest_first = select(table.c.id, table.c.settings).where(wanted).order_by(table.c.at.desc(), table.c.id)
    return [
        Registry(ledger).artifact(row.id)
        for row in ledger.rows(newest_first)
        if str(row.settings.get("student", "")).startswith(student)
    ]


def _content(artifact: Artifact) -> Any:
    if artifact.kind != GATE:
        raise ArtifactError(f"artifact {artifact.id!r} is a {artifact.kind}, not a gate")
    try:
        return msgspec.json.decode(artifact.content)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"gate {artifact.id!r} is corrupt: {error}") from error


def _values(evidence: Evidence) -> dict[str, Any]:
    economy = evidence.economy
    return {
        "sample": _pairs(evidence.sample),
        "suites": {name: _pairs(pairs) for name, pairs in evidence.suites.items()},
        "general": _pairs(evidence.general) if evidence.general is not None else None,
        "calls": evidence.calls._asdict(),
        "timed": {name: getattr(evidence.timed, name).tolist() for name in ("candidate", "incumbent")},
        "economy": {
            **vars(economy),
            **{name: _numbers(getattr(economy, name)) for name in ("strong", "small")},
        },
        "evaluations": evidence.evaluations,
    }


def _pairs(pairs: Pairs) -> dict[str, Any]:
    return {
        "candidate": _numbers(pairs.candidate),
        "incumbent": _numbers(pairs.incumbent),
        "prompts": pairs.prompts.tolist(),
        "slices": pairs.slices.tolist(),
        "why": pairs.why,
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _floats(values: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _quality(sample: Pairs) -> list[float | None]:
    known = ~np.isnan(sample.candidate)
    found = mean_outcome(sample.candidate[known], groups=sample.prompts[known])
    return [None if math.isnan(end) else end for end in found]
