"""docs/metrics.md: it names the metrics that the real `/metrics` has, with their labels, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.metrics import STAGES
from tests.busy import busy_proxy, everything

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(stepdown_\w+)` \|([\w, ]*)\| (.+) \|$", re.MULTILINE)
PARTS = {"le"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric after traffic of every kind."""
    with busy_proxy(tmp_path_factory.mktemp("exposed")) as proxy:
        text = everything(proxy)
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue  # when each counter began: the client library's own
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = {label for sample in family.samples for label in sample.labels} - PARTS
        assert family.samples, f"{name} has no sample: the traffic is to lack nothing"
    return found


def test_the_page_names_exactly_the_metrics_and_labels_that_there_are(exposed: dict[str, set[str]]) -> None:
    named = {name: set(re.findall(r"\w+", labels)) for name, labels, _ in ROW.findall(PAGE)}
    assert named == exposed


def test_the_page_names_no_metric_twice() -> None:
    names = [name for name, _, _ in ROW.findall(PAGE)]
    assert len(names) == len(set(names))


def test_the_stages_are_those_that_are_timed() -> None:
    words = PAGE.partition("The stages:")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"`(\w+)`", words)) == STAGES


def test_the_alarms_are_promql_over_metrics_of_the_page(exposed: dict[str, set[str]]) -> None:
    alarms = re.findall(r"^\| `(.+?)` \| [A-Z].+\|$", PAGE.partition("## Worth an alarm")[2], re.MULTILINE)
    assert len(alarms) == 5
    for alarm in alarms:
        promql_parser.parse(alarm)
        (metric,) = re.findall(r"stepdown_\w+", alarm)
        assert metric in exposed
        assert set(re.findall(r"(\w+)=", alarm)) <= exposed[metric]
