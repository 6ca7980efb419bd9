"""Gathers what the gate looks at: the candidate and the student in service on the same questions.

Invariant: a prompt counts only where both have an answer whose label may be counted; one that lacks a label
is missing and never bad. What is read here was asked for before; only the suites are run now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from sqlalchemy import select

from distill.evaluation.asking import declared_task, small_of
from distill.evaluation.economy import Trial, economy
from distill.evaluation.held_out import datasets_of, trained_on
from distill.evaluation.sample import IN_TRAFFIC, Asked, is_of, is_whole, sampled
from distill.evaluation.suites import Bench, Ran, run_suite
from distill.evidence import Calls, Evidence, Pairs, Timed
from evals.metrics.intervals import Floats
from evals.outcomes import JUDGED, Outcomes, of_small, read_outcomes
from evals.slices.build import name_prompts
from evals.slices.kinds import By
from router.fitting.two_head import GOOD
from stepdown.ledger import Ledger, schema
from stepdown.records import Role, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from stepdown.students import served_name, with_student

BESIDE = timedelta(minutes=10)
UNNAMED = "(unreadable)"


def gather(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    student: str,
    *,
    deadline: float = math.inf,
) -> Evidence:
    """The evidence on a candidate: run the suites, and read its answers to live prompts with their labels.

    Args:
        ledger: Where it all is.
        settings: All settings.
        environ: Where the models' keys are.
        task: Name of the task.
        student: Artifact id of the candidate.
        deadline: Time of `time.monotonic` at which no more is asked.

    Raises:
        OutOfBudget: The deadline came; what was answered until then is kept.
        ArtifactError: The candidate, or what it was made from, is not in the registry.
        SettingsError: The task is not declared or has no small model, or a key is not set.
        LedgerError: The ledger refused.
    """
    declared, registry = declared_task(settings, task), Registry(ledger)
    incumbent = registry.deployed(task).student
    suites, general = _suites(ledger, settings, environ, task, (student, incumbent), deadline)
    trained = trained_on(ledger, task, declared, (student, incumbent))
    outcomes = read_outcomes(ledger, task, audit_share=declared.audit_share, student=student)
    asked = _asked_of(outcomes, student)
    prompts = [one for one in sampled(ledger, task, trained) if one.request in asked]
    names = [one.request for one in prompts]
    return Evidence(
        candidate=student,
        incumbent=incumbent,
        sample=_sample(ledger, task, declared, outcomes, prompts, (student, incumbent)),
        calls=_calls(outcomes, student, names),
        timed=_timed(ledger, names, (student, incumbent)),
        economy=economy(ledger, settings, Trial(task, student, incumbent, outcomes, set(names))),
        suites={one.name: one.pairs for one in suites},
        general=general.pairs if general else None,
        dataset=tuple(artifact.id for artifact in datasets_of(ledger, [student])),
        evaluations=tuple(one.evaluation for one in [*suites, general] if one and one.evaluation),
        notes=_notes(declared, outcomes, general),
    )


def _suites(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    students: tuple[str, str | None],
    deadline: float,
) -> tuple[list[Ran], Ran | None]:
    """The task's suites, and that of general ability where it names one."""
    declared = declared_task(settings, task)
    small = small_of(task, declared)
    aliases = []
    for student in students:
        aliases.append(small if student is None else served_name(student))
        settings = settings if student is None else with_student(settings, small, student)
    bench = Bench(
        ledger=ledger,
        settings=settings,
        environ=environ,
        task=task,
        candidate=aliases[0],
        incumbent=aliases[1],
        deadline=deadline,
    )
    named = declared.student.general_suite if declared.student else None
    return [run_suite(bench, path) for path in declared.suites], run_suite(bench, named) if named else None


def _asked_of(outcomes: Outcomes, student: str) -> set[str]:
    calls = outcomes.calls
    return set(calls.loc[calls["model"] == served_name(student), "request"])


def _sample(
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    outcomes: Outcomes,
    prompts: Sequence[Asked],
    students: tuple[str, str | None],
) -> Pairs:
    if not prompts:
        return Pairs.none("the candidate was asked no prompt of live traffic that it may be judged on")
    scores = [_scores(outcomes, student, prompts, task.certify_on) for student in students]
    return Pairs(
        scores[0],
        scores[1],
        np.array([one.prompt_hash for one in prompts], dtype=str),
        np.array(_slices(ledger, task_name, prompts), dtype=str),
    )


def _scores(outcomes: Outcomes, student: str | None, prompts: Sequence[Asked], certify_on: str) -> Floats:
    """1 or 0 of each prompt by the labels that may be counted, NaN where there is none.

    A probability that judges make likely counts as the verdict it speaks for, as in a router's bound.
    """
    calls = outcomes.calls
    wanted = (calls["tier"] == Tier.SMALL) & of_small(calls["model"], student)
    of_student = calls[wanted & calls["ok"] & calls["role"].isin(IN_TRAFFIC)]
    newest = of_student.drop_duplicates("request", keep="last").set_index("request")
    counted = newest[newest["drawn" if certify_on == JUDGED else "representative"]]
    good = (counted["good"] >= GOOD).astype(np.float64)
    in_order = good.reindex([one.request for one in prompts]).to_numpy(dtype=np.float64)
    return np.asarray(in_order, dtype=np.float64)


def _slices(ledger: Ledger, task: str, prompts: Sequence[Asked]) -> list[str]:
    """The caller's own tag, or else the cluster."""
    untagged = {one.prompt_hash: one.body for one in prompts if not one.slice}
    named = name_prompts(ledger, task, untagged, By.CLUSTER) if untagged else {}
    return [one.slice or named.get(one.prompt_hash, UNNAMED) for one in prompts]


def _calls(outcomes: Outcomes, student: str, requests: Sequence[str]) -> Calls:
    calls = outcomes.calls
    own = calls[(calls["model"] == served_name(student)) & calls["request"].isin(requests)]
    answered = own.groupby("request")["ok"].any()
    return Calls(len(answered), int((~answered).sum()))


def _timed(ledger: Ledger, requests: Sequence[str], students: tuple[str, str | None]) -> Timed:
    """Latencies on prompts that both were asked within minutes of each other: under the same load."""
    names = ("_candidate", "_incumbent")
    candidate, incumbent = (
        _times(ledger, set(requests), student).add_suffix(name)
        for student, name in zip(students, names, strict=True)
    )
    both = candidate.join(incumbent, how="inner")
    if len(both):
        both = both[(both["at_candidate"] - both["at_incumbent"]).abs() <= BESIDE]
    columns = (both[f"latency_ms{who}"].to_numpy(dtype=np.float64) for who in names)
    return Timed(*columns)


def _times(ledger: Ledger, requests: set[str], student: str | None) -> pd.DataFrame:
    """The newest shadow call of each request."""
    calls = schema.calls
    query = (
        select(calls.c.request, calls.c.at, calls.c.latency_ms)
        .where(is_of(student), is_whole(), calls.c.role == Role.SHADOW)
        .order_by(calls.c.at)
    )
    rows = {row.request: (row.at, row.latency_ms) for row in ledger.rows(query) if row.request in requests}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["at", "latency_ms"])


def _notes(task: TaskSettings, outcomes: Outcomes, general: Ran | None) -> tuple[str, ...]:
    notes = []
    if general is None:
        notes.append("No general suite is declared (student.general_suite): what else is lost is not seen.")
    if task.certify_on == JUDGED and outcomes.judges:
        notes.append(f"Quality is as judged by {', '.join(outcomes.judges)}.")
    return tuple(notes)
