"""Fusion: it finds who is right, says how sure it is, and says when it cannot know."""

from __future__ import annotations

import numpy as np
import pytest

from evals.metrics.fusion import PRESUMED, Vote, fuse

RATES = {"a": (0.95, 0.9), "b": (0.9, 0.55), "c": (0.55, 0.6), "d": (0.6, 0.55)}


def simulated(
    n: int, rates: dict[str, tuple[float, float]], *, share: float = 0.7, labelled: float = 0.8, seed: int = 0
) -> tuple[list[Vote], dict[str, bool]]:
    generator = np.random.default_rng(seed)
    truth = {f"s{i}": bool(good) for i, good in enumerate(generator.random(n) < share)}
    votes = [
        Vote(name, labeller, bool(generator.random() < (right if good else 1 - rejects)))
        for name, good in truth.items()
        for labeller, (right, rejects) in rates.items()
        if generator.random() < labelled
    ]
    return votes, truth


def majority(votes: list[Vote]) -> dict[str, float]:
    said: dict[str, list[bool]] = {}
    for vote in votes:
        said.setdefault(vote.subject, []).append(vote.good)
    return {name: float(np.mean(goods)) for name, goods in said.items()}


def accuracy(p: dict[str, float], truth: dict[str, bool]) -> float:
    return float(np.mean([(p[name] >= 0.5) == truth[name] for name in p]))


@pytest.mark.parametrize("anchored", [0, 60])
def test_it_finds_the_truth_better_than_a_majority_and_each_labellers_worth(anchored: int) -> None:
    votes, truth = simulated(2000, RATES)
    known = dict(list(truth.items())[:anchored])
    fused = fuse(votes, known)
    assert fused.identified
    assert accuracy(dict(fused.judged), truth) > accuracy(majority(votes), truth) + 0.03
    for labeller, (sensitivity, specificity) in RATES.items():
        assert fused.rates[labeller].sensitivity == pytest.approx(sensitivity, abs=0.07)
        assert fused.rates[labeller].specificity == pytest.approx(specificity, abs=0.12)
    assert fused.share == pytest.approx(0.7, abs=0.05)


def test_anchored_on_some_truth_its_probabilities_keep_their_word() -> None:
    votes, truth = simulated(4000, RATES, seed=1)
    judged = fuse(votes, dict(list(truth.items())[:200])).judged
    p = np.array([judged[name] for name in judged])
    good = np.array([truth[name] for name in judged])
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (p >= low) & (p <= low + 0.2)
        assert good[inside].mean() == pytest.approx(p[inside].mean(), abs=0.1)


def test_a_labeller_that_always_says_the_same_has_no_influence() -> None:
    votes, truth = simulated(500, {"a": (0.9, 0.9)}, labelled=1.0)
    known = dict(list(truth.items())[:200])
    constant = [Vote(name, "z", True) for name in truth]
    alone, beside = fuse(votes, known).judged, fuse([*votes, *constant], known).judged
    assert max(abs(alone[name] - beside[name]) for name in truth) < 0.02


def test_one_judge_anchored_on_few_truths_is_believed_as_far_as_it_was_right() -> None:
    """A lenient judge: what it calls bad is bad, what it calls good is good in two of three cases."""
    votes, truth = simulated(3000, {"lenient": (1.0, 0.5)}, share=0.5, labelled=1.0)
    fused = fuse(votes, dict(list(truth.items())[:150]))
    said = {vote.subject: vote.good for vote in votes}
    assert np.mean([fused.judged[name] for name in truth if said[name]]) == pytest.approx(2 / 3, abs=0.08)
    assert np.mean([fused.judged[name] for name in truth if not said[name]]) < 0.1


def test_the_known_is_kept_and_what_its_votes_say_is_told_apart() -> None:
    votes, truth = simulated(300, RATES)
    known = {**dict(list(truth.items())[:100]), "never voted on": True}
    fused = fuse(votes, known)
    assert all(fused.probability[name] == float(good) for name, good in known.items())
    assert "never voted on" not in fused.judged
    assert 0 < min(fused.judged.values()) < max(fused.judged.values()) < 1


@pytest.mark.parametrize("labellers", [1, 2])
def test_with_two_labellers_and_no_truth_the_worth_is_presumed_and_that_is_said(labellers: int) -> None:
    some = dict(list(RATES.items())[:labellers])
    votes, _ = simulated(500, some)
    fused = fuse(votes, {})
    assert not fused.identified
    assert set(fused.rates.values()) == {(PRESUMED, PRESUMED)}
    assert set(np.round(list(fused.judged.values()), 6)) <= {0.1, 0.25, 0.5, 0.75, 0.9}


def test_few_truths_of_one_kind_do_not_tell_what_a_judge_is_worth_and_many_do() -> None:
    votes, truth = simulated(400, {"a": (0.8, 0.9)}, labelled=1.0, share=0.99)
    good = {name: True for name, is_good in truth.items() if is_good}
    assert not fuse(votes, dict(list(good.items())[:20])).identified
    many = fuse(votes, dict(list(good.items())[:200]))
    assert many.identified
    assert min(many.judged.values()) > 0.5  # nearly all are good, whatever a judge says who fails every fifth


def test_the_order_of_the_votes_does_not_matter() -> None:
    votes, truth = simulated(200, RATES)
    known = dict(list(truth.items())[:20])
    assert fuse(votes, known) == fuse(votes[::-1], known)


def test_a_vote_counts_by_its_weight() -> None:
    votes, truth = simulated(300, {"a": (0.9, 0.9)}, labelled=1.0)
    known = dict(list(truth.items())[:150])
    half = [vote._replace(weight=0.5) if vote.subject not in known else vote for vote in votes]
    whole, weak = fuse(votes, known), fuse(half, known)
    doubted = [name for name in truth if name not in known]
    share = whole.share
    assert all(abs(weak.judged[name] - share) < abs(whole.judged[name] - share) for name in doubted)


def test_nothing_to_fuse() -> None:
    fused = fuse([], {"s": False})
    assert (fused.probability, fused.judged, fused.identified) == ({"s": 0.0}, {}, False)
