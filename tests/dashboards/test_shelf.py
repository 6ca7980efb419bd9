"""What is kept, for how long, and who makes it."""

from __future__ import annotations

import threading

import pytest

from dashboards import shelf as module
from dashboards.shelf import Shelf


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_thing_is_made_once_while_it_is_young_enough() -> None:
    clock, made = Clock(), iter(range(10))
    shelf = Shelf(clock)
    assert shelf.take("a", lambda: next(made), 60.0) == 0
    clock.at += 60.0
    assert shelf.take("a", lambda: next(made), 60.0) == 0
    clock.at += 0.1
    assert shelf.take("a", lambda: next(made), 60.0) == 1


def test_its_age_counts_from_when_its_making_began() -> None:
    clock = Clock()
    shelf = Shelf(clock)

    def slow() -> str:
        clock.at += 50.0
        return "slow"

    shelf.take("a", slow, 60.0)
    clock.at += 11.0
    assert shelf.take("a", lambda: "new", 60.0) == "new"


def test_at_no_age_it_is_made_for_each_visit_and_kept_for_those_who_take_older_ones() -> None:
    clock, made = Clock(), iter(range(10))
    shelf = Shelf(clock)
    for expected in range(3):
        clock.at += 1.0
        assert shelf.take("a", lambda: next(made), 0.0) == expected
    assert shelf.take("a", lambda: next(made), 60.0) == 2


def test_names_are_kept_apart() -> None:
    shelf = Shelf(Clock())
    assert shelf.take(("t", "a"), lambda: 1, 60.0) == 1
    assert shelf.take(("t", "b"), lambda: 2, 60.0) == 2
    assert shelf.take(("t", "a"), lambda: 3, 60.0) == 1


def test_an_error_is_raised_and_not_kept() -> None:
    shelf = Shelf(Clock())

    def fails() -> int:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        shelf.take("a", fails, 60.0)
    assert shelf.take("a", lambda: 1, 60.0) == 1


def test_of_those_who_want_it_at_once_one_makes_it() -> None:
    shelf, began, go, made = Shelf(), threading.Event(), threading.Event(), []

    def slow() -> str:
        made.append(1)
        began.set()
        assert go.wait(10.0)
        return "made"

    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(shelf.take("a", slow, 60.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert began.wait(10.0)
    go.set()
    for thread in threads:
        thread.join(10.0)
    assert got == ["made"] * 4
    assert len(made) == 1


def test_who_takes_an_older_one_does_not_wait_for_the_new_one() -> None:
    clock, began, go = Clock(), threading.Event(), threading.Event()
    shelf = Shelf(clock)
    shelf.take("a", lambda: "old", 0.0)
    clock.at += 5.0

    def slow() -> str:
        began.set()
        assert go.wait(10.0)
        return "new"

    thread = threading.Thread(target=lambda: shelf.take("a", slow, 0.0))
    thread.start()
    assert began.wait(10.0)
    assert shelf.take("a", lambda: pytest.fail("made twice"), 60.0) == "old"
    go.set()
    thread.join(10.0)
    assert shelf.take("a", lambda: pytest.fail("made twice"), 60.0) == "new"


def test_what_was_asked_for_least_lately_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    shelf = Shelf(Clock())
    for name in ("a", "b", "a", "c"):
        shelf.take(name, lambda name=name: name, 60.0)  # type: ignore[misc]
    assert shelf.take("a", lambda: "anew", 60.0) == "a"
    assert shelf.take("b", lambda: "anew", 60.0) == "anew"
