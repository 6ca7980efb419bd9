"""Grafana's boards: they are what the code says, and each query finds what the real proxy exposes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dashboards.grafana.__main__ import BOARDS, FOLDER, text_of
from dashboards.grafana.panels import COLUMNS, DATASOURCE
from tests.busy import busy_proxy, everything, send_traffic
from tests.processes import wait_until
from tests.prometheus import scraping

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "dashboards" / "grafana"
OF_PROMETHEUS = {"up": {"job": {"stepdown"}, "instance": set()}}
VARIABLES = {"$__rate_interval": "30s", "$__range": "5m", "$task": ".*"}

Labels = Mapping[str, set[str]]


def boards() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]


def queries() -> dict[str, str]:
    """Every query of the files, its variables filled in, by the panel and the number that it has there."""
    found = {}
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)
                found[f"{board['title']} / {panel['title']} / {target['refId']}"] = expression
    return found


QUERIES = queries()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Labels]:
    """The real `/metrics` after traffic of every kind: the values of each label of each sample's name."""
    with busy_proxy(tmp_path_factory.mktemp("exposed")) as proxy:
        text = everything(proxy)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return {**found, **OF_PROMETHEUS}


class Asks:
    """The metrics, matchers and grouping labels that an expression names."""

    def __init__(self, expression: str) -> None:
        self.metrics: set[str] = set()
        self.matchers: list[tuple[str, str, str | None]] = []
        self.groups: set[str] = set()
        promql_parser.walk(promql_parser.parse(expression), self._visit)

    def _visit(self, node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, "a query names its metrics"
            self.metrics.add(node.name)
            for matcher in node.matchers.matchers:
                exact = matcher.value if matcher.op == promql_parser.MatchOp.Equal else None
                self.matchers.append((node.name, matcher.name, exact))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            self.groups |= set(node.modifier.labels)
        return True


@pytest.mark.parametrize("where", QUERIES)
def test_every_metric_and_label_that_a_query_names_is_exposed(exposed: dict[str, Labels], where: str) -> None:
    asks = Asks(QUERIES[where])
    assert asks.metrics
    assert asks.metrics <= set(exposed)
    for metric, label, value in asks.matchers:
        assert label in exposed[metric], (metric, label)
        assert value is None or value in exposed[metric][label], (metric, label, value)
    for label in asks.groups:
        assert any(label in exposed[metric] for metric in asks.metrics), label


def test_the_static_look_finds_what_is_not_there(exposed: dict[str, Labels]) -> None:
    asks = Asks('sum by (nobody) (rate(absent_total{mode="route"}[1m])) / stepdown_shadow_calls')
    assert asks.metrics == {"absent_total", "stepdown_shadow_calls"}
    assert (asks.groups, asks.matchers) == ({"nobody"}, [("absent_total", "mode", "route")])
    assert "absent_total" not in exposed


def test_a_real_prometheus_answers_every_query_with_figures(tmp_path: Path) -> None:
    with (
        busy_proxy(tmp_path) as proxy,
        scraping(GRAFANA / "prometheus.yaml", proxy.url.removeprefix("http://"), tmp_path) as prometheus,
    ):
        waiting = dict(QUERIES)

        def all_have_figures() -> bool:
            send_traffic(proxy)
            for where, expression in list(waiting.items()):
                if any(sample["value"][1] != "NaN" for sample in prometheus.query(expression)):
                    del waiting[where]
            return not waiting

        try:
            wait_until("every query has figures", all_have_figures)
        finally:
            assert not waiting
        dollars = prometheus.query("sum(stepdown_cost_usd_micros_total) / 1e6")[0]["value"][1]
        assert float(dollars) > 0


def test_the_files_are_what_the_code_says() -> None:
    made = {f"{board.uid}.json": text_of(board) for board in BOARDS}
    kept = {file.name: file.read_text() for file in FOLDER.iterdir()}
    assert kept == made, "run python -m dashboards.grafana"


def test_panels_stand_beside_each_other_and_say_what_they_show() -> None:
    for board in boards():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < COLUMNS
            taken |= cells
            assert panel["description"].endswith(".")
            assert panel["datasource"] == DATASOURCE
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return found


def mounts(service: dict[str, Any]) -> Iterator[tuple[Path, str, str]]:
    for volume in service["volumes"]:
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            yield ROOT / source, target, mode[0] if mode else ""


def test_compose_gives_prometheus_and_grafana_what_they_read(services: dict[str, Any]) -> None:
    for name in ("prometheus", "grafana"):
        found = list(mounts(services[name]))
        assert all(source.exists() and mode == "ro" for source, _, mode in found)
    (config,) = [target for _, target, _ in mounts(services["prometheus"])]
    assert f"--config.file={config}" in services["prometheus"]["command"]
    targets = {target: source for source, target, _ in mounts(services["grafana"])}
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/stepdown.yaml").read_text())["providers"]
    assert targets[provider["options"]["path"]] == FOLDER
    assert targets["/etc/grafana/provisioning"] == GRAFANA / "provisioning"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / Path(home).name).exists()
    assert str(Path(home).parent) in targets


def test_the_datasource_is_the_one_that_the_panels_name(services: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/stepdown.yaml").read_text())[
        "datasources"
    ]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    assert source["url"] == "http://prometheus:9090"
    config = yaml.safe_load((GRAFANA / "prometheus.yaml").read_text())
    assert config["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
    assert "proxy" in services
