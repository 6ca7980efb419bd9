"""Slices are the kinds of query that are there, and they keep their ids from night to night."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, homogeneity_score

from evals.slices.fit import fit_slices
from evals.slices.model import OTHER, SliceModel
from evals.slices.view import view_features
from stepdown.errors import ArtifactError
from tests.evals.slices.prompts import KINDS, asked, ids_of, mixed, sample, texts_of

RECORDING = Path(__file__).parents[3] / "bench" / "recordings" / "qwen-coder.jsonl.gz"


@pytest.fixture(scope="module")
def recording() -> list[tuple[str, str]]:
    with gzip.open(RECORDING) as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["slice"], row["prompt"]) for row in rows]


@pytest.fixture(scope="module")
def fitted(recording: list[tuple[str, str]]) -> SliceModel:
    return fit_slices(sample(text for _, text in recording), seed=0)


def test_the_kinds_of_the_recording_are_found(recording: list[tuple[str, str]], fitted: SliceModel) -> None:
    found = ids_of(fitted, [text for _, text in recording])
    kinds = [kind for kind, _ in recording]
    assert adjusted_mutual_info_score(kinds, found) >= 0.94
    assert adjusted_rand_score(kinds, found) >= 0.85
    assert np.mean(found == "other") < 0.02


def test_names_are_unique_and_small_words_of_the_kind(fitted: SliceModel) -> None:
    names = [s.name for s in fitted.slices]
    assert len(names) == len(set(names))
    assert any("csv" in name for name in names)
    assert not any(character.isdigit() for name in names for character in name)


def test_slices_are_kept_in_little_space_and_assign_as_before(
    recording: list[tuple[str, str]], fitted: SliceModel
) -> None:
    content = fitted.to_bytes()
    assert len(content) < 1_000_000
    texts = [text for _, text in recording[::7]]
    assert list(ids_of(SliceModel.from_bytes(content), texts)) == list(ids_of(fitted, texts))
    assert SliceModel.from_bytes(content).to_bytes() == content


def test_no_prompt_is_in_what_is_kept(recording: list[tuple[str, str]], fitted: SliceModel) -> None:
    content = fitted.to_bytes().decode()
    assert not any(text in content for _, text in recording)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": 1}'])
def test_what_is_no_slices_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="--rebuild"):
        SliceModel.from_bytes(content)


def test_slices_of_another_version_are_refused(fitted: SliceModel) -> None:
    for newer in (b'"version":2', b'"version":0'):
        with pytest.raises(ArtifactError, match="not known here"):
            SliceModel.from_bytes(fitted.to_bytes().replace(b'"version":1', newer, 1))


def test_the_order_of_the_prompts_does_not_matter() -> None:
    prompts = sample(text for _, text in mixed(dict.fromkeys(KINDS, 25)))
    shuffled = random.Random(3).sample(prompts, len(prompts))
    assert fit_slices(shuffled, seed=0).to_bytes() == fit_slices(prompts, seed=0).to_bytes()


def test_unlike_prompts_are_in_no_slice(fitted: SliceModel) -> None:
    strange = [
        "Ode an die Freude: Freude, schöner Götterfunken",
        "0x7f zzz qqq",
        "",
        "¿Qué hora es en Bogotá?",
    ]
    assert set(ids_of(fitted, strange)) == {"other"}


@pytest.mark.parametrize(("new_kind", "seed"), [("sql", 0), ("event_json", 11), ("letter_count", 5)])
def test_ids_last_through_the_next_night(recording: list[tuple[str, str]], new_kind: str, seed: int) -> None:
    """The next night: resampled, a fifth new prompts, one new kind, in another order, another seed."""
    rng = random.Random(seed)
    known = [item for item in recording if item[0] != new_kind]
    rng.shuffle(known)
    cut = int(0.8 * len(known))
    stayed = sorted({rng.randrange(cut) for _ in range(cut)})
    later = [known[i] for i in stayed] + known[cut:] + [item for item in recording if item[0] == new_kind]
    rng.shuffle(later)
    first = fit_slices(sample(text for _, text in known[:cut]), seed=0)
    second = fit_slices(sample(text for _, text in later), seed=seed, previous=first)

    old = [text for kind, text in later if kind != new_kind]
    assert np.mean(ids_of(first, old) == ids_of(second, old)) >= 0.95
    found = ids_of(second, [text for kind, text in later if kind == new_kind])
    (most,) = {max(set(found), key=list(found).count)}
    assert most not in {s.id for s in first.slices} | {"other"}
    names = {s.id: s.name for s in first.slices}
    same = [s.name == names[s.id] for s in second.slices if s.id in names]
    assert np.mean(same) >= 0.9


def test_a_kind_that_is_gone_is_said_and_its_id_not_given_again() -> None:
    first = fit_slices(sample(text for _, text in mixed(dict.fromkeys(KINDS, 30))), seed=0)
    without = sample(text for _, text in mixed(dict.fromkeys(KINDS[1:], 30)))
    second = fit_slices(without, seed=0, previous=first)
    gone = {one.id for one in second.vanished}
    assert set(ids_of(first, texts_of(KINDS[0], 30))) <= gone
    assert gone.isdisjoint(s.id for s in second.slices)
    again = fit_slices(sample(text for _, text in mixed(dict.fromkeys(KINDS, 30))), seed=0, previous=second)
    assert gone.isdisjoint(s.id for s in again.slices)
    assert again.next_number > first.next_number


def test_one_template_is_one_slice() -> None:
    texts = [f"Turn the record of customer {i} into JSON with the keys id and city." for i in range(100)]
    model = fit_slices(sample(texts), seed=0)
    assert len(model.slices) == 1
    assert set(ids_of(model, texts)) == {"s1"}


def test_a_shared_system_prompt_does_not_hide_the_kinds() -> None:
    verbs = ("say", "never", "always", "shop", "kind")
    rules = " ".join(f"rule{number} {verb}" for number in "abcdefgh" for verb in verbs)
    items = mixed({"sql": 40, "sentiment": 40, "order_json": 40})
    model = fit_slices(sample((text for _, text in items), system=rules), seed=0)
    found = model.assign([view_features(asked(text, rules)) for _, text in items])
    assert homogeneity_score([kind for kind, _ in items], found) > 0.95
    assert list(model.assign([view_features(asked("Sing me an old lullaby", rules))])) == [OTHER]


@pytest.mark.parametrize("texts", [[], [""], ["", "   "]], ids=["none", "empty", "blank"])
def test_traffic_without_words_has_no_slice(texts: list[str]) -> None:
    model = fit_slices(sample(texts), seed=0)
    assert model.slices == ()
    assert list(model.assign([view_features(asked("hello"))])) == [OTHER]
    assert SliceModel.from_bytes(model.to_bytes()).slices == ()


@pytest.mark.parametrize(
    "texts",
    [["hello"], ["alpha", "beta", "gamma", "delta", "epsilon"], ["12", "13"], ["今日は", "さようなら"]],
)
def test_little_traffic_is_one_slice(texts: list[str]) -> None:
    model = fit_slices(sample(texts), seed=0)
    assert len(model.slices) == 1
    assert set(ids_of(model, texts)) == {"s1"}


def test_after_a_night_without_traffic_all_slices_are_gone() -> None:
    first = fit_slices(sample(texts_of("sql", 30)), seed=0)
    second = fit_slices([], seed=0, previous=first)
    assert {one.id for one in second.vanished} == {s.id for s in first.slices}
    third = fit_slices(sample(texts_of("sql", 30)), seed=0, previous=second)
    assert {s.id for s in third.slices}.isdisjoint(s.id for s in first.slices)


def test_languages_are_told_apart() -> None:
    english = [f"Please tell me the weather in town number {i} for tomorrow." for i in range(40)]
    japanese = [f"明日の第{i}町の天気を教えてください。" for i in range(40)]
    model = fit_slices(sample(english + japanese), seed=0)
    found = ids_of(model, english + japanese)
    assert set(found[:40]).isdisjoint(found[40:])
