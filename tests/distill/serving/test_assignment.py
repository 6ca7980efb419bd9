"""Which server serves which checkpoint: those in force first, the rest by their share, and few moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill.serving.assignment import assign

names = st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=3, unique=True)


@given(
    count=st.integers(1, 6),
    in_force=names,
    on_trial=st.dictionaries(st.sampled_from("XYZ"), st.floats(0, 0.99), max_size=2),
    asked_for=st.lists(st.sampled_from("UVW"), max_size=3, unique=True),
    has=st.dictionaries(st.integers(0, 5), st.sampled_from("ABCDEXYZUVW"), max_size=6),
)
def test_every_server_has_one_and_what_matters_most_is_placed_first(
    count: int, in_force: list[str], on_trial: dict[str, float], asked_for: list[str], has: dict[int, str]
) -> None:
    servers = [f"s{number}" for number in range(count)]
    before = {f"s{number}": model for number, model in has.items() if number < count}
    made = assign(servers, before, in_force=in_force, on_trial=on_trial, asked_for=asked_for)
    assert sorted(made.models) == servers
    needed = [*in_force, *on_trial, *asked_for]
    served = set(made.models.values())
    assert served == set(needed[:count])
    assert made.unplaced == tuple(needed[count:])
    again = assign(servers, made.models, in_force=in_force, on_trial=on_trial, asked_for=asked_for)
    assert again.models == made.models, "what was brought about is moved again"


def test_what_a_server_has_it_keeps_where_it_may() -> None:
    made = assign(["a", "b", "c"], {"a": "new", "c": "old"}, in_force=["old"], on_trial={"new": 0.1})
    assert made.models == {"a": "new", "b": "old", "c": "old"}


def test_a_candidate_gets_servers_by_its_share() -> None:
    servers = ["a", "b", "c", "d"]
    made = assign(servers, dict.fromkeys(servers, "old"), in_force=["old"], on_trial={"new": 0.5})
    assert sorted(made.models.values()) == ["new", "new", "old", "old"]
    most = assign(servers, {}, in_force=["old"], on_trial={"new": 0.99})
    assert sorted(most.models.values()) == ["new", "new", "new", "old"]


def test_with_one_server_a_candidate_finds_none() -> None:
    made = assign(["a"], {"a": "old"}, in_force=["old"], on_trial={"new": 0.5})
    assert made.models == {"a": "old"}
    assert made.unplaced == ("new",)
