"""The newest promotion is in force, promotions are compare-and-set, artifacts are verified."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from stepdown.errors import ArtifactError, LedgerError
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry

ON_BOTH_DATABASES = True


def promote(registry: Registry, mode: Mode, after: int, artifact: str | None = None) -> bool:
    return registry.promote(
        "t", Deployed(mode, artifact), actor="auto", reason="r", evidence={"n": 3}, after=after
    )


def test_a_task_that_was_never_promoted_has_nothing_in_force(ledger: Ledger) -> None:
    assert Registry(ledger).current("t") is None


def test_the_newest_promotion_is_in_force(ledger: Ledger) -> None:
    registry = Registry(ledger)
    before = registry.revision()
    assert promote(registry, Mode.SHADOW, 0)
    assert promote(registry, Mode.ROUTE, 1, "a" * 64)
    current = registry.current("t")
    assert current is not None
    assert (current.mode, current.artifact, current.sequence) == (Mode.ROUTE, "a" * 64, 2)
    assert current.evidence == {"n": 3}
    assert [p.mode for p in registry.history("t")] == [Mode.SHADOW, Mode.ROUTE]
    assert registry.revision() > before


def test_of_two_that_promote_from_the_same_state_one_loses(ledger: Ledger) -> None:
    registry = Registry(ledger)
    assert promote(registry, Mode.SHADOW, 0)
    assert not promote(registry, Mode.ROUTE, 0)
    current = registry.current("t")
    assert current is not None
    assert current.mode == Mode.SHADOW


@pytest.mark.parametrize("after", [-1, 2, 7])
def test_what_is_based_on_no_promotion_or_one_to_come_is_not_put_in_force(ledger: Ledger, after: int) -> None:
    registry = Registry(ledger)
    assert promote(registry, Mode.SHADOW, 0)
    assert not promote(registry, Mode.ROUTE, after)
    assert [one.sequence for one in registry.history("t")] == [1]


def test_a_corrupt_promotion_is_refused_by_name(ledger: Ledger) -> None:
    registry = Registry(ledger)
    promote(registry, Mode.SHADOW, 0)
    with ledger.writing() as connection:
        connection.execute(update(schema.promotions).values(mode="nonsense"))
    with pytest.raises(LedgerError, match=r"promotion 1 of task 't' is corrupt.*nonsense"):
        registry.current("t")


def test_an_artifact_is_named_by_its_content_and_kept_once(ledger: Ledger) -> None:
    registry = Registry(ledger)
    first = registry.keep("router", "t", b"weights", settings={}, summary={"n": 1})
    second = registry.keep("router", "t", b"weights", settings={}, summary={"n": 1})
    assert first.id == second.id
    assert registry.artifact(first.id).content == b"weights"
    newest = registry.newest("router", "t")
    assert newest is not None
    assert newest.id == first.id
    assert registry.newest("router", "other") is None


def test_what_an_artifact_was_made_for_and_with_is_part_of_its_name(ledger: Ledger) -> None:
    registry = Registry(ledger)
    names = {
        registry.keep(kind, task, b"weights", parents=parents, settings=settings, summary={}).id
        for kind, task, parents, settings in (
            ("router", "t", (), {}),
            ("report", "t", (), {}),
            ("router", "u", (), {}),
            ("router", "t", ("p",), {}),
            ("router", "t", (), {"epsilon": 0.02}),
        )
    }
    assert len(names) == 5
    assert registry.count("router", "t") == 3


def test_an_artifact_with_other_content_than_its_name_is_refused(ledger: Ledger) -> None:
    registry = Registry(ledger)
    kept = registry.keep("router", "t", b"weights", settings={}, summary={})
    with ledger.writing() as connection:
        connection.execute(update(schema.artifacts).values(content=b"tampered"))
    with pytest.raises(ArtifactError, match="corrupt"):
        registry.artifact(kept.id)


def test_a_missing_artifact_is_named(ledger: Ledger) -> None:
    with pytest.raises(ArtifactError, match="'nothing'"):
        Registry(ledger).artifact("nothing")


OLD = Deployed(Mode.ROUTE, "r0", "old")
TRIED = OLD._replace(candidate="new", candidate_router="r1")
CANARY = TRIED._replace(candidate_share=0.5)


def test_all_that_is_deployed_is_kept(ledger: Ledger) -> None:
    registry = Registry(ledger)
    assert registry.deployed("t") == Deployed()
    assert registry.promote("t", CANARY, actor="auto", reason="r", evidence={}, after=0)
    assert registry.deployed("t") == CANARY
    assert CANARY.settled == OLD


def test_the_newest_of_a_student_is_no_other_students(ledger: Ledger) -> None:
    registry = Registry(ledger)
    made = {
        student: registry.keep(
            "router", "t", name, settings={"student": student} if student else {}, summary={}
        )
        for student, name in ((None, b"declared"), ("one", b"of one"), ("two", b"of two"))
    }
    for student, artifact in made.items():
        newest = registry.newest("router", "t", student=student)
        assert newest is not None
        assert newest.id == artifact.id
    assert registry.newest("router", "t", student="three") is None
    anyones = registry.newest("router", "t")
    assert anyones is not None
    assert anyones.id == made["two"].id
