"""Spans of labels: of those that were kept, for requests that are traced, from the process that labelled."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from evals.label_spans import LabelSpans
from evals.labelling import label_all
from stepdown.ledger import Ledger, schema
from stepdown.settings import TaskSettings, TracingSettings
from tests.collector import Collector, collecting
from tests.traffic import answered

TRACE, PROXY = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TASKS = {"sums": TaskSettings(check="number", checks={"number": {"kind": "number"}})}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def traced_answer(ledger: Ledger, text: str, trace: str | None = f"00-{TRACE}-{PROXY}-01") -> str:
    written = answered(ledger, "sums", "2+2?", text, reference="4")
    with ledger.writing() as connection:
        of_it = schema.requests.c.id == written.request
        connection.execute(update(schema.requests).where(of_it).values(trace=trace))
    return written.call


def label(ledger: Ledger, spans: LabelSpans) -> int:
    return label_all(ledger, TASKS, batch=10, budget_s=60, kept=spans).labelled


def test_each_label_is_a_span_in_the_trace_of_its_request_once(ledger: Ledger, collector: Collector) -> None:
    good, bad = traced_answer(ledger, "It is 4."), traced_answer(ledger, "It is 5.")
    unread = traced_answer(ledger, "It is hard to say.")
    spans = LabelSpans(TracingSettings(endpoint=collector.url))
    assert [label(ledger, spans), label(ledger, spans)] == [3, 0]
    spans.close()
    said = {span.attributes["stepdown.call.id"]: span for span in collector.spans}
    assert {call: span.attributes["gen_ai.evaluation.score.label"] for call, span in said.items()} == {
        good: "good",
        bad: "bad",
        unread: "bad",
    }
    for span in collector.spans:
        assert (span.name, span.trace, span.parent, span.links) == ("label", TRACE, PROXY, (PROXY,))
        assert span.started_ns <= span.ended_ns
    assert said[bad].attributes["gen_ai.evaluation.score.value"] == 0.0
    assert b"It is" not in collector.raw


def test_a_request_without_a_trace_has_a_label_and_no_span(ledger: Ledger, collector: Collector) -> None:
    traced_answer(ledger, "It is 4.", trace=None)
    spans = LabelSpans(TracingSettings(endpoint=collector.url))
    assert label(ledger, spans) == 1
    spans.close()
    assert collector.spans == []


def test_a_fork_sends_its_own_spans(ledger: Ledger, collector: Collector) -> None:
    """A worker labels in a fork of the process that was started, whose threads do not come along."""
    spans = LabelSpans(TracingSettings(endpoint=collector.url))
    spans([])
    url = str(ledger.engine.url)
    traced_answer(ledger, "It is 4.")
    child = os.fork()
    if child == 0:
        own = Ledger(url, migrated=False)
        labelled = label(own, spans)
        spans.close()
        os._exit(labelled)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert collector.only("label").trace == TRACE
    spans.close()
