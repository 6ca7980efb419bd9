"""Three nights in a row while the traffic shifts.

The first student goes live; the second is stopped by the gate; the third passes the gate, fails in its canary
and is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF
from stepdown.students import served_name
from tests.school import (
    World,
    a_world,
    adds_and_subtracts,
    adds_well,
    forgets_to_add,
    goes_on,
    proves_itself,
    shifts,
    turns_bad,
)


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> Iterator[World]:
    with a_world(ledger, tmp_path) as made:
        yield made


def test_three_nights(world: World) -> None:
    first = the_first_goes_live(world)
    the_second_is_stopped_by_the_gate(world, first)
    the_third_is_rolled_back(world, first)
    assert world.deployed.student == first


def the_first_goes_live(world: World) -> str:
    night = adds_well(world)
    assert world.history[0].mode is Mode.SHADOW
    assert night["canary"].outcome == "done", night
    begun = world.history[-1]
    student = begun.candidate
    assert student is not None
    assert begun.evidence["coverage"] > 0.3
    assert begun.evidence["net_usd_micros"] > 0
    gate = Registry(world.ledger).artifact(begun.evidence["gate"])
    assert (gate.kind, gate.summary["passed"], gate.summary["incumbent"]) == ("gate", True, None)
    assert world.answered_by(student) == 0

    steps = proves_itself(world)
    on_trial = [(step.candidate, step.candidate_share) for step in steps]
    assert on_trial == [(student, 0.0), (student, 0.5), (None, 0.0)], reasons(steps)
    assert world.deployed == Deployed(Mode.ROUTE, begun.candidate_router, student), reasons(steps)
    assert steps[-1].evidence["stage"] == "canary of 50%"
    assert world.answered_by(student) > 0
    return student


def the_second_is_stopped_by_the_gate(world: World, first: str) -> None:
    shifts(world)
    before, served = world.history, set(world.vllm.adapters)
    night = forgets_to_add(world)
    assert night["dataset"].outcome == night["train"].outcome == "done", night
    assert night["gate"].outcome == "stopped", night
    assert "worse" in night["gate"].reason
    assert [night[stage].outcome for stage in ("relabel", "fit", "bound", "canary")] == ["skipped"] * 4
    assert night["report"].outcome == "done"
    gate = Registry(world.ledger).newest("gate", world.task)
    assert gate is not None
    assert (gate.summary["passed"], gate.summary["incumbent"]) == (False, first)
    assert world.history == before, reasons(world.history)
    assert world.answered_by(gate.settings["student"]) == 0
    assert served_name(first) in served & set(world.vllm.adapters)


def the_third_is_rolled_back(world: World, first: str) -> None:
    shifts(world)
    before = world.deployed
    night = adds_and_subtracts(world)
    assert night["canary"].outcome == "done", night
    candidate = world.deployed.candidate
    assert candidate is not None
    assert world.deployed.settled == before

    steps = turns_bad(world)
    assert [step.candidate_share for step in steps] == [0.0, 0.5, 0.0], reasons(steps)
    back = steps[-1]
    assert back.evidence[ROLLBACK_OF] == [step.sequence for step in steps[:-1]]
    assert back.evidence["stage"] == "canary of 50%"
    assert back.actor == "auto"
    assert world.deployed == before, reasons(steps)
    assert world.answered_by(candidate) > 0

    by_candidate, by_first = world.answered_by(candidate), world.answered_by(first)
    goes_on(world)
    assert world.answered_by(candidate) == by_candidate
    assert world.answered_by(first) > by_first
    assert served_name(first) in world.vllm.adapters


def reasons(promotions: Sequence[Promotion]) -> list[str]:
    """Why each was made, for who must know why one was made that was not to be."""
    return [promotion.reason for promotion in promotions]
