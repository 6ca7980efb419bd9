"""A fitted router learns what separates the prompts, scores as scikit-learn does, and promises honestly."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from router.features import featurize
from router.fitting.fit import Example, fit_model, fit_router, thresholds_from, to_model
from router.fitting.splits import calibration_mask
from router.fitting.two_head import TwoHeadClassifier
from router.fitting.vectors import PromptVectors
from router.model import RouterModel
from stepdown.errors import NotEnoughEvidence
from tests.router.prompts import a_prompt, labelled


def regret_rate(model: RouterModel, examples: list[Example]) -> float:
    small = [model.score(e.prompt).gain <= model.threshold for e in examples]
    return float(np.mean([s and e.strong_good > e.small_good for s, e in zip(small, examples, strict=True)]))


def test_easy_goes_to_small_and_hard_to_strong_within_the_bound() -> None:
    fitted = fit_router(labelled(1000), epsilon=0.06, delta=0.05)
    assert fitted.certificate.reason == "certified"
    assert 0.35 < fitted.certificate.coverage < 0.65
    fresh = labelled(1000, seed=1)
    assert regret_rate(fitted.model, fresh) <= 0.06
    served = [e.slice for e in fresh if fitted.model.score(e.prompt).gain <= fitted.model.threshold]
    assert served.count("easy") / len(served) > 0.9
    assert fitted.model.threshold == fitted.certificate.threshold


def test_runtime_and_scikit_learn_agree_to_the_last_digits() -> None:
    examples = labelled(200)
    prompts = [e.prompt for e in examples] + [
        a_prompt(text, system=system, max_tokens=7)
        for text in ("", "never seen 日本語", "kilogram " * 3000)
        for system in ("", "Answer in JSON.")
    ]
    features = [featurize(prompt) for prompt in prompts]
    vectors = PromptVectors(max_buckets=300).fit(features[:200])
    heads = TwoHeadClassifier().fit(
        vectors.transform(features[:200]), [(e.strong_good, e.small_good) for e in examples]
    )
    model = RouterModel.from_bytes(to_model(vectors, heads).to_bytes())
    scores = [model.score(prompt) for prompt in prompts]
    np.testing.assert_allclose(scores, heads.predict_proba(vectors.transform(features)), rtol=0, atol=1e-9)
    assert np.ptp([score.gain for score in scores]) > 0.5


def test_the_same_examples_in_any_order_give_the_same_bytes() -> None:
    examples = labelled(300)
    shuffled = [examples[i] for i in np.random.default_rng(5).permutation(300)]
    first, second = (fit_router(e, epsilon=0.1, delta=0.1) for e in (examples, shuffled))
    assert first.model.to_bytes() == second.model.to_bytes()
    assert first.summary() == second.summary()


def test_labels_of_calibration_prompts_move_the_threshold_only() -> None:
    examples = labelled(600)
    held = calibration_mask([e.group for e in examples], 0.4, 0)
    worse = [
        replace(e, strong_good=1.0, small_good=0.0) if h else e for e, h in zip(examples, held, strict=True)
    ]
    before, after = (fit_router(e, epsilon=0.1, delta=0.1) for e in (examples, worse))
    assert after.certificate.coverage < 0.1 < before.certificate.coverage
    assert after.certificate.regrets == after.certificate.served
    for name, array in before.model.weights._asdict().items():
        np.testing.assert_array_equal(array, getattr(after.model.weights, name))


def test_duplicates_count_once_in_the_bound() -> None:
    examples = labelled(300)
    once, often = (
        fit_router(examples, epsilon=0.1, delta=0.1),
        fit_router(examples * 4, epsilon=0.1, delta=0.1),
    )
    assert once.n_calibration == often.n_calibration
    assert often.n_fit == 4 * once.n_fit


def test_too_few_calibration_prompts_give_coverage_zero_and_the_reason() -> None:
    fitted = fit_router(labelled(100), epsilon=0.01, delta=0.05)
    assert fitted.certificate.coverage == 0
    assert fitted.model.threshold == -math.inf
    assert "cannot support a quality loss of 0.01" in fitted.certificate.reason
    assert fitted.summary()["certificate"]["threshold"] is None


def test_too_few_prompts_to_fit() -> None:
    with pytest.raises(NotEnoughEvidence, match=r"49 distinct prompts are labelled .* needs 50"):
        fit_router(labelled(49) * 3, epsilon=0.1, delta=0.1)
    with pytest.raises(NotEnoughEvidence, match=r"9 distinct .* needs 10"):
        fit_router(labelled(9), epsilon=0.1, delta=0.1, min_labels=0)


@pytest.mark.parametrize("seed", range(3))
def test_ten_prompts_are_a_router_that_stays_on_strong(seed: int) -> None:
    fitted = fit_router(labelled(10, seed), epsilon=0.05, delta=0.05, min_labels=10, seed=seed)
    assert fitted.certificate.coverage == 0


@pytest.mark.parametrize(
    ("strong", "small", "coverage"), [(1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 1.0)]
)
def test_models_that_are_always_or_never_right(strong: float, small: float, coverage: float) -> None:
    examples = labelled(400, strong=lambda hard: strong, small=lambda hard: small)
    assert fit_router(examples, epsilon=0.05, delta=0.05).certificate.coverage == coverage


def test_prompts_that_are_all_alike() -> None:
    examples = [replace(e, prompt=a_prompt("")) for e in labelled(200)]
    fitted = fit_router(examples, epsilon=0.05, delta=0.05)
    assert fitted.certificate.coverage in (0.0, 1.0)


def test_a_summary_is_json_and_shows_n_and_intervals() -> None:
    summary = fit_router(labelled(300), epsilon=0.1, delta=0.1).summary()
    json.dumps(summary, allow_nan=False)
    brier = summary["small"]["brier"]
    assert brier["low"] <= brier["value"] <= brier["high"]
    assert brier["n"] == summary["n_calibration"] == summary["certificate"]["n"]
    assert brier["value"] < 0.15


def test_out_of_fold_gains_offer_the_thresholds() -> None:
    _, gains, _ = fit_model(labelled(200))
    thresholds = thresholds_from(gains)
    assert thresholds[0] == gains.min()
    assert thresholds[-1] == 1.0
    assert (np.diff(thresholds) >= 0).all()


def test_an_artifact_stays_small() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(3000)]
    examples = [replace(e, prompt=a_prompt(" ".join(rng.choice(words, 400)))) for e in labelled(300)]
    fitted = fit_router(examples, epsilon=0.1, delta=0.1)
    assert len(fitted.model.to_bytes()) < 2_000_000


def test_the_bound_rests_on_certifiable_prompts_alone() -> None:
    examples = labelled(600)
    held = calibration_mask([e.group for e in examples], 0.4, 0)
    whole = fit_router(examples, epsilon=0.1, delta=0.1)
    half = [replace(e, certifiable=i % 2 == 0) for i, e in enumerate(examples)]
    worse = [
        replace(e, strong_good=1.0, small_good=0.0) if h and not e.certifiable else e
        for e, h in zip(half, held, strict=True)
    ]
    on_half, on_worse = (fit_router(e, epsilon=0.1, delta=0.1) for e in (half, worse))
    assert on_half.certificate == on_worse.certificate
    assert on_half.certificate.n == sum(h and e.certifiable for e, h in zip(half, held, strict=True))
    assert on_half.certificate.n < whole.certificate.n
    assert on_half.certificate.coverage > 0


def test_without_trusted_labels_nothing_is_allowed_and_the_reason_says_what_to_label() -> None:
    fitted = fit_router([replace(e, certifiable=False) for e in labelled(300)], epsilon=0.02, delta=0.05)
    assert (fitted.certificate.coverage, fitted.certificate.n) == (0.0, 0)
    assert math.isinf(fitted.model.threshold)
    assert "149 more are needed: label about 373 audit requests by hand" in fitted.certificate.reason
    assert "set certify_on = 'judged'" in fitted.certificate.reason
    assert fitted.strong.rate.n == fitted.n_calibration > 0


def test_of_duplicates_the_certifiable_one_is_counted() -> None:
    examples = labelled(200)
    judged = [replace(e, certifiable=False, strong_good=1.0, small_good=0.0) for e in examples]
    both = fit_router([*judged, *examples], epsilon=0.1, delta=0.1)
    assert both.certificate.n == both.n_calibration
