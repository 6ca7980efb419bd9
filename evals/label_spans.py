"""Spans of labels, in the traces of the requests whose answers they are of.

Invariant: it is opened by the process that labels, which may be a fork of the one that was started. No text
of an answer is in a span.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from evals.labelling import Made
from stepdown.settings import TracingSettings
from stepdown.tracing import Tracing, open_tracing


class LabelSpans:
    """Makes a span of each label that is kept; what `label_all` tells of them.

    Args:
        settings: Where spans are sent.
    """

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings
        self._opened: tuple[int, Tracing | None] | None = None

    def __call__(self, made: Sequence[Made]) -> None:
        """Make the spans of some labels.

        Raises:
            SettingsError: OpenTelemetry is not installed.
        """
        tracing = self._tracing()
        if tracing is not None:
            for one in made:
                if one.item.trace is not None:
                    _span(tracing, one, one.item.trace)

    def close(self) -> None:
        """Send what has not been sent."""
        if self._opened is not None and self._opened[0] == os.getpid() and self._opened[1] is not None:
            self._opened[1].close()
        self._opened = None

    def _tracing(self) -> Tracing | None:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), open_tracing(self._settings))
        return self._opened[1]


def _span(tracing: Tracing, made: Made, trace: str) -> None:
    label = made.label
    span = tracing.begin("label", "INTERNAL", {"traceparent": trace}, at=made.began, linked=True)
    span.note(
        {
            "gen_ai.evaluation.name": label.labeller,
            "gen_ai.evaluation.score.label": label.verdict.value,
            "stepdown.labeller.version": label.version,
            "stepdown.request.id": made.item.request,
            "stepdown.call.id": label.subject,
        }
    )
    if label.score is not None:
        span.note({"gen_ai.evaluation.score.value": label.score})
    span.end(label.at)
