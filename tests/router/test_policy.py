"""The policy: strong when in doubt, and propensities that are probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import Scores
from router.policy import NO_POLICY, Choice, TaskPolicy, choose, fall_back, named, refuse
from router.prompt import Prompt
from stepdown.records import Decision, Mode, Reason, Tier


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
