"""A rollback goes back to what was settled before, and never to a step of a trial."""

from __future__ import annotations

from stepdown.ids import now
from stepdown.records import Deployed, Mode, Promotion
from stepdown.rollback import ROLLBACK_OF, author_of, rollback_of

OLD = Deployed(Mode.ROUTE, "r0", "old")
TRIED = OLD._replace(candidate="new", candidate_router="r1")
CANARY = TRIED._replace(candidate_share=0.5)
LIVE = Deployed(Mode.ROUTE, "r1", "new")


def rolled_back(*deployed: Deployed | tuple[Deployed, int | tuple[int, ...]]) -> object:
    """What a rollback of a history does; a pair is a rollback, and the promotions it took back."""
    history = []
    for sequence, one in enumerate(deployed, start=1):
        to, gone = (one, None) if isinstance(one, Deployed) else one
        evidence = {} if gone is None else {ROLLBACK_OF: gone}
        fields = {**to._asdict(), "evidence": evidence}
        history.append(Promotion(task="t", sequence=sequence, at=now(), actor="a", reason="r", **fields))
    return rollback_of(history)


def test_a_rollback_drops_a_candidate_with_all_its_steps() -> None:
    assert rolled_back(OLD, TRIED, CANARY) == (OLD, (2, 3))
    assert rolled_back(TRIED) == (OLD, (1,))


def test_a_rollback_of_a_student_that_went_live_goes_to_before_its_trial() -> None:
    assert rolled_back(OLD, TRIED, CANARY, LIVE) == (OLD, (2, 3, 4))
    assert rolled_back(TRIED, CANARY, LIVE) == (Deployed(), (1, 2, 3))


def test_a_rollback_takes_back_one_promotion_where_there_was_no_trial() -> None:
    newer = OLD._replace(artifact="r9")
    assert rolled_back(OLD, newer) == (OLD, (2,))
    assert rolled_back(OLD, TRIED, CANARY, LIVE, LIVE._replace(artifact="r2")) == (LIVE, (5,))


def test_what_was_rolled_back_does_not_come_back_by_rolling_back() -> None:
    assert rolled_back(OLD, TRIED, CANARY, LIVE, (OLD, (2, 3, 4))) == (Deployed(), (1,))
    shadow = Deployed(Mode.SHADOW)
    assert rolled_back(shadow, OLD, (shadow, 2)) == (Deployed(), (1,))
    assert rolled_back(OLD, (Deployed(), (1,))) is None
    assert rolled_back() is None


def by(*moves: tuple[str, int | None]) -> str | None:
    """Whose word a history ends with: who moved, and from which promotion on it took back."""
    history = [
        Promotion(
            task="t",
            sequence=sequence,
            at=now(),
            mode=Mode.STRONG,
            artifact=None,
            actor=actor,
            reason="r",
            evidence={} if gone is None else {ROLLBACK_OF: list(range(gone, sequence))},
        )
        for sequence, (actor, gone) in enumerate(moves, start=1)
    ]
    return author_of(history)


def test_a_rollback_that_nobody_asked_for_is_by_the_word_of_what_it_puts_back() -> None:
    assert by() is None
    assert by(("ana", None)) == "ana"
    assert by(("ana", None), ("bob", None), ("auto", 2)) == "ana"
    assert by(("auto", None), ("ana", 1), ("bob", None), ("auto", 3)) == "ana"  # ana's was a rollback too
    assert by(("ana", None), ("bob", None), ("auto", 2), ("eve", None), ("auto", 4)) == "ana"
    assert by(("bob", None), ("auto", 1)) is None
    assert by(("bob", None), ("ana", 1)) == "ana"
