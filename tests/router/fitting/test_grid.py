"""The choices of a grid hold together: shown by playing a person who always picks the one that is wrong."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from router.fitting import bound
from router.fitting.bound import Certificate, certify
from router.fitting.grid import LOSSES, Grid, best_within, certify_grid, from_values, grid_with, to_values

DELTA = 0.1
PROMPTS = 2_000
PLAYS = 1_000
THRESHOLDS = np.linspace(0.0, 1.0, 201)

# P(regret at gain g) = height x power x g^(power - 1), so up to a threshold t it is height x t^power.
WORLDS = {"regrets everywhere": (0.15, 1.0), "regrets among the hard": (0.3, 3.0), "easy": (0.02, 1.0)}


def certificate(loss: float, threshold: float, delta: float = 0.01) -> Certificate:
    served = math.isfinite(threshold)
    return Certificate(threshold, 0.5 if served else 0.0, 0, 5, 10, loss, delta, 0.01, 3, "certified")


def true_regret(threshold: float, world: tuple[float, float]) -> float:
    height, power = world
    return float(height * max(threshold, 0.0) ** power)


def play(
    generator: np.random.Generator, world: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    height, power = world
    gains = generator.random(PROMPTS)
    return gains, generator.random(PROMPTS) < height * power * gains ** (power - 1)


def is_wrong(one: Certificate, world: tuple[float, float]) -> bool:
    return one.coverage > 0 and true_regret(one.threshold, world) > one.epsilon


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_whichever_a_person_picks_after_looking_it_keeps_to_its_bound(
    world: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share of draws in which any choice at all is wrong stays within delta."""
    monkeypatch.setattr(bound, "most_regrets", lru_cache(bound.most_regrets))
    generator, wrong, useful = np.random.default_rng(7), 0, 0
    for _ in range(PLAYS):
        choices = certify_grid(*play(generator, world), thresholds=THRESHOLDS, grid=grid_with(0.02, DELTA))
        wrong += any(is_wrong(one, world) for one in choices)
        useful += any(one.coverage > 0 for one in choices)
    assert useful == PLAYS
    assert wrong <= binom.ppf(0.9999, PLAYS, DELTA)


def test_without_the_correction_a_person_who_picks_would_be_misled(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the play above is one that can be lost."""
    monkeypatch.setattr(bound, "most_regrets", lru_cache(bound.most_regrets))
    generator, wrong, world = np.random.default_rng(7), 0, WORLDS["regrets everywhere"]
    for _ in range(PLAYS):
        drawn = play(generator, world)
        singly = [certify(*drawn, thresholds=THRESHOLDS, epsilon=loss, delta=DELTA) for loss in LOSSES]
        wrong += any(is_wrong(one, world) for one in singly)
    assert wrong > binom.ppf(0.9999, PLAYS, DELTA)


def test_each_loss_is_certified_with_its_part_of_delta() -> None:
    gains, regrets = play(np.random.default_rng(1), WORLDS["regrets everywhere"])
    choices = certify_grid(gains, regrets, thresholds=THRESHOLDS, grid=Grid((0.02, 0.05), 0.04))
    alone = [certify(gains, regrets, thresholds=THRESHOLDS, epsilon=e, delta=0.02) for e in (0.02, 0.05)]
    assert list(choices) == alone
    assert certify_grid(gains, regrets, thresholds=THRESHOLDS, grid=Grid((), 0.0)) == ()


def test_the_loss_of_the_fit_is_on_its_grid() -> None:
    assert grid_with(0.02, 0.1).losses == LOSSES
    assert grid_with(0.025, 0.1).losses == tuple(sorted((*LOSSES, 0.025)))


def test_the_best_within_a_loss_gives_small_the_most() -> None:
    strict, loose, nothing = certificate(0.01, 0.1), certificate(0.05, 0.4), certificate(0.03, -math.inf)
    every = (loose, nothing, strict)
    assert best_within(every, 0.05) == loose
    assert best_within(every, 0.04) == strict
    assert best_within(every, 0.005) is None
    assert best_within((nothing,), 0.05) is None
    alike = certificate(0.02, 0.1)
    assert best_within((strict, alike), 0.05) == alike  # the one that the bound was asked for
    surer, own = certificate(0.02, 0.1, 0.001), certificate(0.02, 0.1, 0.025)
    assert best_within((surer, own), 0.02) == own


@pytest.mark.parametrize("threshold", [0.25, -math.inf])
def test_a_certificate_survives_json(threshold: float) -> None:
    one = certificate(0.02, threshold)
    assert from_values(to_values(one)) == one
    assert to_values(one)["threshold"] == (None if math.isinf(threshold) else threshold)
