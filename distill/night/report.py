"""The last stage: the account of the night, kept as an artifact that anyone can read back.

Invariant: it is made of the events before it, so a report that was broken off and is made again is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distill.night.account import NightAccount, account_of
from distill.night.machine import Ending, Stage, found
from distill.night.tonight import Tonight, done
from evals.report.encode import to_json
from stepdown import __version__
from stepdown.records import Night, NightEvent

KIND = "night"


def report(tonight: Tonight) -> Ending:
    """Keep the account of the night."""
    account = _until_now(account_of(tonight.night, tonight.events))
    kept = tonight.registry.keep(
        KIND,
        tonight.night.task,
        to_json(account),
        parents=_parents(tonight),
        settings={"night": tonight.night.id, "code_version": __version__},
        summary={
            "night": tonight.night.id,
            "conclusion": account.conclusion,
            "cost_usd_micros": account.cost_usd_micros,
            "stages": {stage.stage: stage.state for stage in account.stages},
        },
    )
    return done(account.conclusion, report=kept.id)


def told(night: Night, events: Sequence[NightEvent]) -> str:
    """What came of a night, in one line."""
    return f"night {night.id}: {account_of(night, events).conclusion}"


def _until_now(account: NightAccount) -> NightAccount:
    """The account without the report itself, which has only begun."""
    return replace(account, over=True, stages=account.stages[:-1])


def _parents(tonight: Tonight) -> tuple[str, ...]:
    named = (
        (Stage.DATASET, "dataset"),
        (Stage.TRAIN, "student"),
        (Stage.GATE, "gate"),
        (Stage.FIT, "router"),
    )
    return tuple(str(of[name]) for stage, name in named if name in (of := found(tonight.events, stage)))
