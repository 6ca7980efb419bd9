"""Old among new within a budget."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from distill.dataset.example import Example, Origin, Source, copies, repeated
from distill.dataset.mix import cost, mix, reservoir


def an_example(name: str, *, tokens: int = 10, weight: float = 1.0, kind: str | None = None) -> Example:
    return Example(
        id=name,
        request=None,
        messages=[],
        tools=None,
        source=Source.CHECKED,
        weight=weight,
        slice=kind,
        prompt_hash=name,
        group=name,
        tokens=tokens,
        origin=Origin(name),
    )


def many(name: str, number: int, **changes: object) -> list[Example]:
    return [an_example(f"{name}{n}", **changes) for n in range(number)]  # type: ignore[arg-type]


def test_where_there_is_room_all_is_taken() -> None:
    mixed = mix(many("n", 10), many("o", 50), [], share=0.2, budget=10_000, seed=0)
    assert (len(mixed.new), len(mixed.old), mixed.over) == (10, 50, 0)


def test_where_there_is_not_the_share_of_the_old_is_kept_for_them() -> None:
    for share, old in ((0.0, 0), (0.2, 20), (0.5, 50), (1.0, 100)):
        mixed = mix(many("n", 200), many("o", 200), [], share=share, budget=1_000, seed=0)
        assert (len(mixed.new), len(mixed.old)) == (100 - old, old)
        assert mixed.over == 300


def test_new_ones_are_taken_in_their_order() -> None:
    new = many("n", 30)
    assert mix(new, [], [], share=0.2, budget=100, seed=0).new == new[:10]


def test_the_general_set_is_a_share_of_the_examples_and_no_more() -> None:
    alone = mix(many("n", 80), [], many("g", 500), share=0.2, budget=10**6, seed=0)
    assert (len(alone.new), len(alone.general)) == (80, 20)
    beside = mix(many("n", 50), many("o", 40), many("g", 500), share=0.2, budget=10**6, seed=0)
    assert (len(beside.new) + len(beside.old), len(beside.general)) == (90, 10)
    only = mix(many("n", 10), [], many("g", 500), share=1.0, budget=10**6, seed=0)
    assert len(only.general) == 190, "a share of one does not ask for endlessly many"


def test_where_few_are_old_the_general_set_makes_up_the_share() -> None:
    mixed = mix(many("n", 800), many("o", 10), many("g", 5000), share=0.2, budget=10**6, seed=0)
    replayed = len(mixed.old) + len(mixed.general)
    assert (len(mixed.new), len(mixed.old)) == (800, 10)
    assert replayed == 200
    tight = mix(many("n", 800), many("o", 10), many("g", 5000), share=0.5, budget=1_000, seed=0)
    assert (len(tight.new), len(tight.old), len(tight.general)) == (50, 10, 40)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.floats(0, 0.9),
    st.sampled_from([300, 10**6]),
)
def test_of_what_there_is_the_share_is_kept(
    new: int, old: int, general: int, share: float, budget: int
) -> None:
    given_ = [many(name, n) for name, n in (("n", new), ("o", old), ("g", general))]
    mixed = mix(*given_, share=share, budget=budget, seed=0)
    replayed = len(mixed.old) + len(mixed.general)
    every = replayed + len(mixed.new)
    all_are_in = replayed == old + general
    assert all_are_in or replayed >= share * every - 2, "but for rounding"


def test_the_reservoir_is_even_in_slices_and_stays_when_more_comes() -> None:
    old = many("a", 100, kind="a") + many("b", 10, kind="b") + many("c", 3, kind="c")
    first = reservoir(old, 0)
    assert Counter(e.slice for e in first[:9]) == {"a": 3, "b": 3, "c": 3}
    assert Counter(e.slice for e in first[:23]) == {"a": 10, "b": 10, "c": 3}
    kept = {e.id for e in first[:9]}
    more = reservoir(old + many("d", 3, kind="a"), 0)
    assert len(kept & {e.id for e in more[:12]}) >= 8
    assert reservoir(old, 1) != first


def test_a_heavy_example_counts_more_in_the_budget() -> None:
    assert len(mix(many("n", 50, weight=2.0), [], [], share=0, budget=200, seed=0).new) == 10


@given(st.lists(st.floats(1, 10), max_size=30), st.integers(0, 5))
def test_copies_are_the_weight_rounded_up_or_down_and_never_lost(weights: list[float], seed: int) -> None:
    examples = [an_example(f"e{n}", weight=weight) for n, weight in enumerate(weights)]
    counted = Counter(e.id for e in repeated(examples, seed))
    for example in examples:
        assert int(example.weight) <= counted[example.id] <= int(example.weight) + 1
        assert counted[example.id] == copies(example, seed)
    assert repeated(examples, seed) == repeated(examples, seed)


def test_copies_come_to_the_weight_on_the_whole() -> None:
    examples = many("e", 4000, weight=2.3)
    assert 2.27 < len(repeated(examples)) / 4000 < 2.33


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 30),
    st.floats(0, 1),
    st.integers(0, 500),
)
def test_the_budget_is_kept(new: int, old: int, general: int, share: float, budget: int) -> None:
    given_ = [many(name, n, tokens=7) for name, n in (("n", new), ("o", old), ("g", general))]
    mixed = mix(*given_, share=share, budget=budget, seed=0)
    every = [*mixed.new, *mixed.old, *mixed.general]
    assert cost(every) <= budget
    assert len({e.id for e in every}) == len(every)
    assert mixed.over == new + old - len(mixed.new) - len(mixed.old)
