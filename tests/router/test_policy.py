"""The policy: strong when in doubt, and propensities that are probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import Scores
from router.policy import (
    NO_POLICY,
    Choice,
    Policies,
    TaskPolicy,
    choose,
    fall_back,
    named,
    place_of,
    refuse,
)
from router.prompt import Prompt
from stepdown.records import Arm, Decision, Mode, Reason, Tier


class FixedScorer:
    """A router that thinks the same of every prompt."""

    def __init__(self, p_strong: float = 0.8, p_small: float = 0.75, threshold: float = 0.1) -> None:
        self.threshold = threshold
        self._scores = Scores(p_strong, p_small)

    def score(self, prompt: Prompt) -> Scores:
        return self._scores


def prompt(*needs: str) -> Prompt:
    return Prompt("", "", "hello", 1, frozenset(needs), None, None)


def routed(**changes: object) -> TaskPolicy:
    fields: dict[str, object] = {
        "mode": Mode.ROUTE,
        "policy": "a" * 64,
        "scorer": FixedScorer(),
        "small": True,
        "exploration": 0.1,
    }
    return TaskPolicy(**{**fields, **changes})  # type: ignore[arg-type]


def where(choice: Choice) -> tuple[Tier, Reason]:
    return choice.chosen, choice.reason


def test_a_gain_at_or_below_the_threshold_goes_to_small() -> None:
    at = routed(scorer=FixedScorer(0.75, 0.5, threshold=0.25))
    above = routed(scorer=FixedScorer(0.75, 0.5, threshold=0.2499))
    assert where(choose(at, prompt(), draw=0.5)) == (Tier.SMALL, Reason.ROUTED_SMALL)
    assert where(choose(above, prompt(), draw=0.5)) == (Tier.STRONG, Reason.ROUTED_STRONG)


def test_what_the_router_said_is_in_the_choice() -> None:
    choice = choose(routed(), prompt(), draw=0.5)
    assert (choice.p_strong, choice.p_small, choice.threshold) == (0.8, 0.75, 0.1)
    assert choice.gain == pytest.approx(0.05)
    assert choice.policy == "a" * 64
    assert not choice.shadowed


def test_an_explored_request_goes_to_strong_and_small_is_asked_in_its_shadow() -> None:
    for scorer in (FixedScorer(), FixedScorer(threshold=-math.inf)):
        choice = choose(routed(scorer=scorer), prompt(), draw=0.0999)
        assert where(choice) == (Tier.STRONG, Reason.EXPLORED)
        assert choice.explored
        assert choice.shadowed


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (TaskPolicy(), Reason.MODE_STRONG),
        (routed(refused=True), Reason.BAD_ARTIFACT),
        (routed(mode=Mode.STRONG), Reason.MODE_STRONG),
        (routed(small=False), Reason.NO_SMALL_MODEL),
        (routed(mode=Mode.SHADOW, small=False), Reason.NO_SMALL_MODEL),
        (routed(scorer=None), Reason.NO_ARTIFACT),
        (routed(scorer=FixedScorer(p_strong=math.nan)), Reason.ROUTED_STRONG),
        (routed(scorer=FixedScorer(threshold=-math.inf)), Reason.ROUTED_STRONG),
    ],
)
def test_in_doubt_strong(policy: TaskPolicy, reason: Reason) -> None:
    choice = choose(policy, prompt(), draw=0.5)
    assert where(choice) == (Tier.STRONG, reason)
    assert choice.propensity == 1.0


def test_a_prompt_that_small_cannot_take_is_neither_routed_nor_shadowed() -> None:
    for draw in (0.0, 0.5):
        choice = choose(routed(capabilities=frozenset({"json"})), prompt("json", "tools"), draw=draw)
        assert where(choice) == (Tier.STRONG, Reason.UNROUTABLE)
        assert not choice.shadowed
    assert not choose(routed(mode=Mode.SHADOW), prompt("tools"), draw=0.0).shadowed
    able = routed(capabilities=frozenset({"json", "tools"}))
    assert choose(able, prompt("json", "tools"), draw=0.5).chosen is Tier.SMALL


def test_shadow_mode_answers_with_strong_and_shadows_its_share() -> None:
    policy = routed(mode=Mode.SHADOW, shadow_share=0.3)
    asked, spared = (choose(policy, prompt(), draw=draw) for draw in (0.29, 0.3))
    assert where(asked) == where(spared) == (Tier.STRONG, Reason.MODE_SHADOW)
    assert asked.shadowed
    assert not spared.shadowed


def test_a_conversation_stays_on_its_model_and_is_not_explored() -> None:
    for pinned in Tier:
        choice = choose(routed(), prompt(), draw=0.0, pinned=pinned)
        assert where(choice) == (pinned, Reason.CONVERSATION)
        assert not choice.explored


def test_a_conversation_on_small_leaves_it_when_small_cannot_take_a_turn_or_is_out_of_force() -> None:
    assert choose(routed(), prompt("images"), draw=0.5, pinned=Tier.SMALL).chosen is Tier.STRONG
    for policy in (routed(mode=Mode.STRONG), routed(scorer=None), routed(refused=True)):
        assert choose(policy, prompt(), draw=0.5, pinned=Tier.SMALL).chosen is Tier.STRONG


def test_a_fallback_keeps_the_scores_and_says_why() -> None:
    routed_small = choose(routed(), prompt(), draw=0.5)
    fallen = fall_back(routed_small)
    assert where(fallen) == (Tier.STRONG, Reason.FALLBACK)
    assert fallen.gain == routed_small.gain
    assert fallen.propensity == 1.0


def test_named_and_refused_choices() -> None:
    assert where(named(routed(), Tier.SMALL)) == (Tier.SMALL, Reason.NAMED)
    assert named(routed(), Tier.SMALL).policy == NO_POLICY
    assert where(refuse(routed())) == (Tier.STRONG, Reason.BAD_ARTIFACT)


probabilities = st.floats(0, 1)
scorers = st.builds(FixedScorer, probabilities, probabilities, st.floats(-1, 1) | st.just(-math.inf))
capabilities = st.frozensets(st.sampled_from(["tools", "json"]))
routed_policies = st.builds(
    routed, scorer=scorers, capabilities=capabilities, exploration=probabilities, shadow_share=probabilities
)
policies = routed_policies | st.builds(
    routed,
    mode=st.sampled_from(Mode),
    scorer=st.none() | scorers,
    refused=st.booleans(),
    small=st.booleans(),
    capabilities=capabilities,
    exploration=probabilities,
    shadow_share=probabilities,
)
prompts = st.just(prompt()) | st.builds(prompt, st.sampled_from(["tools", "json", "images"]))
draws = st.floats(0, 1, exclude_max=True)
GRID = 100


@given(policies, prompts, draws, st.none() | st.sampled_from(Tier))
def test_small_only_where_nothing_speaks_against_it(
    policy: TaskPolicy, asked: Prompt, draw: float, pinned: Tier | None
) -> None:
    choice = choose(policy, asked, draw=draw, pinned=pinned)
    assert 0 < choice.propensity <= 1
    Decision(request="r", at=None, **choice._asdict())  # type: ignore[arg-type]
    if choice.chosen is Tier.SMALL:
        assert policy.mode is Mode.ROUTE
        assert policy.scorer is not None
        assert policy.small
        assert not policy.refused
        assert asked.needs <= policy.capabilities
        if pinned is None:
            assert policy.scorer.score(asked).gain <= policy.scorer.threshold
    if choice.shadowed:
        assert choice.chosen is Tier.STRONG
        assert asked.needs <= policy.capabilities


@given(policies, prompts)
def test_the_propensities_are_the_shares_with_which_the_models_are_chosen(
    policy: TaskPolicy, asked: Prompt
) -> None:
    choices = [choose(policy, asked, draw=(i + 0.5) / GRID) for i in range(GRID)]
    claimed = {choice.chosen: choice.propensity for choice in choices}
    for tier, propensity in claimed.items():
        share = sum(choice.chosen is tier for choice in choices) / GRID
        assert share == pytest.approx(propensity, abs=1 / GRID)
    if len(claimed) == 2:
        assert sum(claimed.values()) == pytest.approx(1)


def on_trial(share: float) -> Policies:
    """A canary beside a control that keeps to strong."""
    return Policies(TaskPolicy(arm=Arm.CONTROL), routed(arm=Arm.CANARY, student="s"), "s", share)


def test_units_are_drawn_evenly_and_differently_for_each_candidate() -> None:
    units = [f"unit {number}" for number in range(4000)]
    places = [place_of(unit, "one") for unit in units]
    for share in (0.1, 0.5, 0.9):
        assert sum(place < share for place in places) / len(units) == pytest.approx(share, abs=0.03)
    others = [place_of(unit, "two") for unit in units]
    both = sum(one < 0.5 and two < 0.5 for one, two in zip(places, others, strict=True))
    assert both / len(units) == pytest.approx(0.25, abs=0.03)


def test_the_place_of_a_unit_is_for_ever() -> None:
    """Else a new version would shuffle conversations that are under way."""
    assert place_of("tenant talk", "candidate") == pytest.approx(0.1609808383307249)
    assert 0 <= place_of("\ud800", "candidate") < 1  # what JSON allows, UTF-8 does not


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_as_the_share_grows_no_unit_goes_back(unit: str, candidate: str, one: float, two: float) -> None:
    canary = routed(arm=Arm.CANARY)
    small, large = (Policies(TaskPolicy(), canary, candidate, share) for share in sorted((one, two)))
    assert 0 <= place_of(unit, candidate) < 1
    if small.of(unit) is canary:
        assert large.of(unit) is canary


def test_without_a_canary_all_units_are_controls() -> None:
    alone = Policies(TaskPolicy(), None, "s", 0.9)
    assert all(alone.of(str(unit)) is alone.control for unit in range(50))
    assert all(on_trial(0.0).of(str(unit)).arm is Arm.CONTROL for unit in range(50))


def test_every_choice_of_an_arm_names_it_and_its_student() -> None:
    """Also where the router fails, or small does: an arm that lost its failures would look too good."""
    policy = routed(arm=Arm.CANARY, student="s")
    choices = [
        choose(policy, prompt(), draw=0.5),
        choose(policy, prompt("tools"), draw=0.5),
        choose(policy, prompt(), draw=0.5, pinned=Tier.STRONG),
        choose(routed(arm=Arm.CANARY, student="s", asleep=True), prompt(), draw=0.5),
        fall_back(choose(policy, prompt(), draw=0.5)),
        refuse(policy),
    ]
    assert {(choice.arm, choice.student) for choice in choices} == {(Arm.CANARY, "s")}
    assert (named(policy, Tier.SMALL).arm, named(policy, Tier.SMALL).student) == (None, None)


def test_a_model_that_sleeps_is_not_asked() -> None:
    for mode in (Mode.ROUTE, Mode.SHADOW):
        choice = choose(routed(mode=mode, asleep=True), prompt(), draw=0.0)
        assert where(choice) == (Tier.STRONG, Reason.ASLEEP)
        assert not choice.shadowed
    assert where(choose(routed(asleep=True), prompt(), draw=0.5, pinned=Tier.SMALL))[0] is Tier.STRONG


def test_a_candidate_is_mirrored_on_its_share_where_it_can_take_the_prompt() -> None:
    policy = routed(mirror="name", shadow_share=0.3)
    assert policy.mirrors(prompt(), 0.29)
    assert not policy.mirrors(prompt(), 0.3)
    assert not policy.mirrors(prompt("tools"), 0.0)
    assert not routed(mirror="name", asleep=True).mirrors(prompt(), 0.0)
    assert not routed().mirrors(prompt(), 0.0)
