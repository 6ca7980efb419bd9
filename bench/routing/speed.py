"""How long a decision takes, beside scikit-learn's own pipeline on the same prompts in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from bench.routing.outcomes import Outcomes
from router.fitting.fit import fit_model
from router.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Speed:
    """Microseconds to score one prompt, from its text to both probabilities.

    Attributes:
        router_us: Median over the prompts.
        router_p99_us: 99th percentile.
        sklearn_us: Median of a TF-IDF vectoriser and two logistic regressions.
        n: Prompts timed.
        artifact_bytes: Size of the router.
    """

    router_us: float
    router_p99_us: float
    sklearn_us: float
    n: int
    artifact_bytes: int

    @property
    def ratio(self) -> float:
        """How many decisions the router makes while scikit-learn makes one."""
        return self.sklearn_us / self.router_us


def measure(outcomes: Outcomes, *, prompts: int = 300, labels: int = 1500) -> Speed:
    """Fit both on the same labels, then score the same prompts one by one, in turns."""
    examples = outcomes.examples[:labels]
    model, _, _ = fit_model(examples)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    matrix = words.fit_transform([example.prompt.text for example in examples])
    heads = [
        LogisticRegression().fit(matrix, _with_both([getattr(e, field) >= 0.5 for e in examples]))
        for field in ("strong_good", "small_good")
    ]

    def pipeline(prompt: Prompt) -> None:
        row = words.transform([prompt.text])
        for head in heads:
            head.predict_proba(row)

    timed = [example.prompt for example in outcomes.examples[-prompts:]]
    ours, theirs = _times_us(model.score, timed), _times_us(pipeline, timed)
    return Speed(
        router_us=statistics.median(ours),
        router_p99_us=sorted(ours)[int(0.99 * (len(ours) - 1))],
        sklearn_us=statistics.median(theirs),
        n=len(timed),
        artifact_bytes=len(model.to_bytes()),
    )


def _with_both(labels: list[bool]) -> list[bool]:
    """Labels of which at least one is of each kind, which scikit-learn wants."""
    return labels if len(set(labels)) == 2 else [not labels[0], *labels[1:]]


def _times_us(score: Callable[[Prompt], object], prompts: Sequence[Prompt]) -> list[float]:
    for prompt in prompts[:20]:
        score(prompt)
    times = []
    for prompt in prompts:
        started = time.perf_counter_ns()
        score(prompt)
        times.append((time.perf_counter_ns() - started) / 1000)
    return times
