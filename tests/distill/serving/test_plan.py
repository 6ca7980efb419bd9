"""The plan: what is loaded, reloaded and unloaded, and what never is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from distill.serving.plan import Adapter, Card, Deed, Step, grace_of, plan
from stepdown.settings import ModelSettings, ProxySettings, Settings
from stepdown.students import served_name

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
BASE = Card("small", "/base")
STUDENTS = [served_name(digit * 64) for digit in "0123456789"]

names = st.sampled_from(STUDENTS)
paths = st.sampled_from(["/a", "/b"])
servers = st.dictionaries(names, paths, max_size=6)


def after(steps: list[Step], has: dict[str, str]) -> dict[str, str]:
    """What a server has once the steps are done."""
    now = dict(has)
    for step in steps:
        if step.deed is Deed.UNLOAD:
            del now[step.name]
        else:
            assert (step.name in now) is (step.deed is Deed.RELOAD)
            now[step.name] = step.path
    return now


def cards(has: dict[str, str]) -> list[Card]:
    return [BASE, *(Card(name, path, "small") for name, path in has.items())]


@given(wanted=servers, has=servers, recent=st.sets(names))
def test_a_server_ends_with_what_is_wanted_and_what_was_wanted_a_moment_ago(
    wanted: dict[str, str], has: dict[str, str], recent: set[str]
) -> None:
    left = dict.fromkeys(recent, NOW - HOUR / 2)
    adapters = [Adapter(name, path) for name, path in wanted.items()]
    steps = plan(adapters, cards(has), left=left, at=NOW, grace=HOUR)
    kept = {name: path for name, path in has.items() if name in recent}
    assert after(steps, has) == {**kept, **wanted}
    again = plan(adapters, cards(after(steps, has)), left=left, at=NOW, grace=HOUR)
    assert again == [], "a second look has nothing to do"


def test_a_student_stays_through_its_grace_and_goes_after_it() -> None:
    has, left = cards({STUDENTS[0]: "/a"}), {STUDENTS[0]: NOW}
    assert plan([], has, left=left, at=NOW + HOUR, grace=HOUR) == []
    gone = plan([], has, left=left, at=NOW + HOUR + timedelta(seconds=1), grace=HOUR)
    assert gone == [Step(Deed.UNLOAD, STUDENTS[0], "/a")]


def test_the_base_and_what_others_loaded_are_never_unloaded() -> None:
    """A whole checkpoint may be served under a student's name, and then it is the base."""
    has = [BASE, Card(STUDENTS[0], "/merged"), Card("their-own-adapter", "/x", "small")]
    assert plan([], has, left={}, at=NOW, grace=HOUR) == []


def test_the_grace_outlasts_the_reload_of_a_policy_and_the_longest_request() -> None:
    model = ModelSettings(model="small", url="http://127.0.0.1:9/v1", timeout_s=600)
    settings = Settings(proxy=ProxySettings(reload_s=30), models={"small": model})
    assert grace_of(settings, "small") > timedelta(seconds=600 + 2 * 30)
