"""Tracing as such: off by default, clear where it cannot be had, and spans that end once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from stepdown.errors import SettingsError
from stepdown.ids import now
from stepdown.settings import TracingSettings, load_settings
from stepdown.tracing import Tracing, current, in_force, open_tracing
from tests.collector import Collector, collecting, is_sampled


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def opened(collector: Collector, path: str = "") -> Tracing:
    tracing = open_tracing(TracingSettings(endpoint=collector.url + path))
    assert tracing is not None
    return tracing


def test_it_is_off_unless_a_collector_is_named() -> None:
    assert load_settings(environ={}).tracing.endpoint is None
    assert open_tracing(TracingSettings()) is None


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"tracing\.endpoint = 'http://x'.*install stepdown\[otel\]"):
        open_tracing(TracingSettings(endpoint="http://x"))


def test_a_collector_without_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tracing\.endpoint = 'collector:4318' is not a URL"):
        load_settings(environ={"STEPDOWN_TRACING_ENDPOINT": "collector:4318"})


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_the_endpoint_may_be_written_with_its_path_or_without(collector: Collector, path: str) -> None:
    tracing = opened(collector, path)
    tracing.begin("a", "INTERNAL", {}).end()
    tracing.close()
    assert collector.paths == {"/v1/traces"}
    assert collector.only("a").parent == ""


def test_times_and_attributes_are_those_given(collector: Collector) -> None:
    tracing, began = opened(collector), now() - timedelta(seconds=2)
    span = tracing.begin("a", "SERVER", {}, at=began)
    span.step("b", 0.5, {"x": 1, "y": ["z"]})
    span.end(began + timedelta(seconds=1))
    span.end()
    tracing.close()
    first, second = collector.only("a"), collector.only("b")
    assert first.ended_ns - first.started_ns == 1_000_000_000
    assert second.ended_ns - second.started_ns == 500_000_000
    assert (second.parent, second.attributes) == (first.id, {"x": 1, "y": ["z"]})


def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(collector: Collector) -> None:
    tracing = opened(collector)
    span = tracing.begin("a", "SERVER", {"traceparent": "nonsense"})
    assert span.traceparent is not None
    span.end()
    tracing.close()
    assert collector.only("a").parent == ""


def test_what_was_not_drawn_hands_its_trace_on_and_is_not_kept(collector: Collector) -> None:
    tracing = open_tracing(TracingSettings(endpoint=collector.url, sample=0.0))
    assert tracing is not None
    span = tracing.begin("a", "SERVER", {})
    assert span.traceparent is None
    assert not is_sampled(span.headers["traceparent"])
    assert span.child("b").headers["traceparent"][:35] == span.headers["traceparent"][:35]
    span.end()
    tracing.close()
    assert not collector.spans


def test_a_span_is_in_force_for_its_block(collector: Collector) -> None:
    tracing = opened(collector)
    span = tracing.begin("a", "SERVER", {})
    with in_force(span):
        assert current.get() is span
    assert current.get() is None
    tracing.close()
