"""A router keeps its numbers through its bytes, and refuses bytes that are not a router's."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.features import STRUCTURE
from router.model import DIGEST_SIZE, MAGIC, RouterModel, Scores, Weights
from stepdown.errors import ArtifactError
from tests.router.prompts import a_prompt


def some_weights(seed: int = 0, known: int = 500, **changes: Any) -> Weights:
    rng, structure = np.random.default_rng(seed), len(STRUCTURE)
    values = {
        "buckets": np.sort(rng.choice(65_536, known, replace=False)).astype(np.float64),
        "idf": rng.uniform(1, 5, known),
        "text": rng.normal(size=(known, 2)),
        "centre": rng.normal(size=structure),
        "scale": rng.uniform(1, 9, structure),
        "structure": rng.normal(size=(structure, 2)),
        "intercept": rng.normal(size=2),
        "clip": np.array(0.3),
    }
    return Weights(**{**values, **changes})


def resealed(content: bytes) -> bytes:
    """Content with a right digest, so that what comes after the digest is tested."""
    body = content[:-DIGEST_SIZE]
    return body + hashlib.blake2b(body, digest_size=DIGEST_SIZE).digest()


@given(st.text(), st.floats(allow_nan=False))
def test_bytes_keep_scores_and_threshold(text: str, threshold: float) -> None:
    model = RouterModel(some_weights(), threshold)
    read = RouterModel.from_bytes(model.to_bytes())
    assert read.score(a_prompt(text)) == model.score(a_prompt(text))
    assert read.threshold == threshold
    assert read.to_bytes() == model.to_bytes()


def test_scores_are_probabilities_even_of_extreme_weights() -> None:
    weights = some_weights(intercept=np.array([5000.0, -5000.0]))
    scores = RouterModel(weights).score(a_prompt())
    assert scores.p_strong == 1.0
    assert scores.p_small == pytest.approx(0.0, abs=1e-300)
    assert scores.gain == pytest.approx(1.0)
    assert Scores(0.75, 0.5).gain == 0.25


def test_a_new_model_sends_nothing_to_small() -> None:
    model = RouterModel(some_weights())
    assert model.threshold == -math.inf
    assert not model.score(a_prompt()).gain <= model.threshold


def test_a_model_cannot_be_changed() -> None:
    model = RouterModel(some_weights())
    with pytest.raises(AttributeError, match="threshold"):
        model.threshold = 1.0
    with pytest.raises(ValueError, match="read-only"):
        model.weights.text[0, 0] = 1.0


def test_a_model_does_not_share_the_arrays_it_was_given() -> None:
    weights = some_weights()
    model = RouterModel(weights)
    before = model.score(a_prompt())
    weights.intercept[:] = 99.0
    assert model.score(a_prompt()) == before


def test_with_threshold_changes_the_threshold_only() -> None:
    model = RouterModel(some_weights())
    moved = model.with_threshold(0.25)
    assert (moved.threshold, model.threshold) == (0.25, -math.inf)
    assert moved.score(a_prompt()) == model.score(a_prompt())


def test_no_known_bucket_leaves_the_structure() -> None:
    empty = some_weights(known=0)
    first, second = (RouterModel(empty).score(a_prompt(text)) for text in ("one two", "two one"))
    assert first == second


@pytest.mark.parametrize("length", [0, 1, len(MAGIC), len(MAGIC) + 4, 100, -1, -DIGEST_SIZE])
def test_truncated(length: int) -> None:
    content = RouterModel(some_weights()).to_bytes()
    with pytest.raises(ArtifactError):
        RouterModel.from_bytes(content[:length])


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    content = bytearray(RouterModel(some_weights(known=5)).to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ArtifactError):
        RouterModel.from_bytes(bytes(content))


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(junk: bytes) -> None:
    for content in (junk, MAGIC + junk, resealed(MAGIC + junk + bytes(DIGEST_SIZE))):
        with pytest.raises(ArtifactError):
            RouterModel.from_bytes(content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"features":1', b'"features":9', "features of version 9"),
        (b'"idf"', b'"idg"', "has arrays"),
        (b'["intercept",[2]]', b'["intercept",[3]]', "do not fit"),
        (b'["intercept",[2]]', b'["intercept",[-]]', "malformed header"),
        (
            b'["clip",[]],["threshold",[]]',
            b'["threshold",[]],["threshold",[]]',
            "malformed|has arrays|do not fit",
        ),
    ],
)
def test_a_header_that_makes_no_sense(old: bytes, new: bytes, message: str) -> None:
    content = RouterModel(some_weights()).to_bytes()
    assert old in content
    with pytest.raises(ArtifactError, match=message):
        RouterModel.from_bytes(resealed(content.replace(old, new)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"idf": np.ones(3)}, "idf has shape"),
        ({"text": np.ones((500, 3))}, "text has shape"),
        ({"intercept": np.array([0.0, math.nan])}, "not finite"),
        ({"structure": np.full((len(STRUCTURE), 2), math.inf)}, "not finite"),
        ({"scale": np.zeros(len(STRUCTURE))}, "above 0"),
        ({"buckets": np.arange(500)[::-1].astype(np.float64)}, "ascending"),
        ({"buckets": np.arange(500) + 0.5}, "whole"),
        ({"buckets": np.arange(500) + 65_100.0}, "whole, ascending and in"),
        ({"buckets": np.arange(500) - 1.0}, "whole, ascending and in"),
    ],
)
def test_weights_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        RouterModel(some_weights(**changes))


def test_a_threshold_that_is_no_number() -> None:
    with pytest.raises(ArtifactError, match="threshold"):
        RouterModel(some_weights(), math.nan)
