"""Trials and services, read off histories of promotions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from distill.rollout.trial import rollback_from_service, service_of, trial_of, was_rolled_back
from stepdown.records import Deployed, Mode, Promotion
from stepdown.rollback import ROLLBACK_OF

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD = Deployed(Mode.ROUTE, "r0", "old")
TRIED = OLD._replace(candidate="new", candidate_router="r1")
LIVE = Deployed(Mode.ROUTE, "r1", "new")


def history(*deployed: Deployed | tuple[Deployed, tuple[int, ...]]) -> list[Promotion]:
    """One promotion an hour; a pair is a rollback, and the promotions it takes back."""
    numbers = count(1)
    return [_promotion(next(numbers), one) for one in deployed]


def _promotion(number: int, one: Any) -> Promotion:
    to, gone = one if not isinstance(one, Deployed) else (one, ())
    return Promotion(
        task="t",
        sequence=number,
        at=START + number * HOUR,
        **to._asdict(),
        actor="auto",
        reason="",
        evidence={ROLLBACK_OF: list(gone)} if gone else {},
    )


def test_a_trial_is_the_run_of_promotions_that_name_its_candidate() -> None:
    earlier = OLD._replace(candidate="bad")
    found = trial_of(history(OLD, earlier, TRIED, TRIED._replace(candidate_share=0.1)))
    assert found is not None
    assert (found.student, found.router, found.before, found.share) == ("new", "r1", "old", 0.1)
    assert (found.began, found.stage_since) == (START + 3 * HOUR, START + 4 * HOUR)
    assert trial_of(history(OLD, TRIED, OLD)) is None
    assert trial_of([]) is None


def test_a_candidate_that_is_begun_again_begins_anew() -> None:
    found = trial_of(history(OLD, TRIED, (OLD, (2,)), TRIED))
    assert found is not None
    assert found.began == START + 4 * HOUR


def test_a_step_holds_from_when_the_proxies_have_it() -> None:
    found = trial_of(history(TRIED, TRIED._replace(candidate_share=0.1), TRIED._replace(candidate_share=0.5)))
    assert found is not None
    minute, settling = timedelta(minutes=1), timedelta(minutes=2)
    places = [
        found.step_at(found.began + after, settling) for after in (-minute, minute, HOUR, HOUR + settling)
    ]
    assert places == [None, None, None, 1]
    assert found.step_at(START + 9 * HOUR, settling) == 2


def test_a_service_began_when_its_student_went_live_and_is_watched_in_pieces() -> None:
    found = service_of(history(OLD, TRIED, LIVE, LIVE._replace(artifact="r2")))
    assert found is not None
    assert (found.student, found.before, found.since) == ("new", "old", START + 3 * HOUR)
    week = timedelta(days=7)
    assert found.watched_from(found.since + HOUR, week) == found.since
    assert found.watched_from(found.since + 15 * timedelta(days=1), week) == found.since + 2 * week
    assert found.watched_from(found.since - HOUR, week) == found.since  # another machine's clock
    ahead = found.since - 3650 * timedelta(days=1)
    assert found.watched_from(ahead, week) == ahead - week  # the clock was ahead when it went live
    assert service_of(history(Deployed(Mode.SHADOW))) is None


def test_who_was_rolled_back() -> None:
    assert was_rolled_back(history(OLD, TRIED, (OLD, (2,))), "new")
    assert was_rolled_back(history(OLD, TRIED, LIVE, (OLD, (2, 3))), "new")
    assert not was_rolled_back(history(OLD, TRIED, (OLD, (2,))), "old")
    assert not was_rolled_back(history(OLD, TRIED, OLD), "new")  # its trial ended for another reason
    refitted = LIVE._replace(artifact="r2")
    assert not was_rolled_back(history(OLD, LIVE, refitted, (LIVE, (3,))), "new")  # only its router was


def test_a_service_is_rolled_back_with_all_that_came_with_it() -> None:
    steps = (OLD, TRIED, TRIED._replace(candidate_share=0.1), LIVE, LIVE._replace(artifact="r2"))
    found = rollback_from_service(history(*steps))
    assert found is not None
    assert (found.to, found.takes_back) == (OLD, (2, 3, 4, 5))
    beside = LIVE._replace(candidate="newer")
    found = rollback_from_service(history(*steps, beside))
    assert found is not None
    assert (found.to, found.takes_back) == (OLD, (2, 3, 4, 5, 6))
    again = rollback_from_service(history(*steps, (OLD, (2, 3, 4, 5))))
    assert again is not None
    assert (again.to, again.takes_back) == (Deployed(), (1,))
    assert rollback_from_service([]) is None
