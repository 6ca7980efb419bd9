"""The house rules that no linter knows: what is imported where, and documents that cannot lie."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepdown.cli import COMMANDS

ROOT = Path(__file__).parents[1]
HEAVY = {
    *("litellm", "pandas", "sklearn", "scipy", "matplotlib", "torch", "vllm", "celery"),
    *("jinja2", "jsonschema", "pint", "rapidfuzz", "py3langid", "altair", "vl_convert", "opentelemetry"),
}


def modules_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


def test_the_serving_process_imports_nothing_heavy() -> None:
    assert not modules_after("import router.serving, stepdown.cli.running") & (HEAVY | {"evals"})


def test_help_imports_no_room() -> None:
    code = "from stepdown.cli import cli; cli.main(['--help'], standalone_mode=False)"
    loaded = modules_after(code)
    assert not loaded & (HEAVY | {"router", "evals", "workers", "sqlalchemy", "numpy", "msgspec"})


def test_help_loads_little_but_click() -> None:
    code = "from stepdown.cli import cli; cli.main(['--help'], standalone_mode=False)"
    more = modules_after(code) - modules_after("import click, importlib")
    assert len(more) < 30, sorted(more)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_summary_that_the_list_gives(command: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "stepdown", command, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: stepdown" in run.stdout


def test_the_readme_names_only_commands_and_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    commands = set(re.findall(r"(?:^|`)stepdown ([a-z]+)", readme, re.MULTILINE))
    assert commands
    assert commands <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert named <= targets


def test_the_readme_points_only_at_files_that_exist() -> None:
    for document in ROOT.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (ROOT / link).exists(), (document.name, link)


def test_the_settings_in_the_readme_are_valid(tmp_path: Path) -> None:
    from evals.checks import build_check
    from stepdown.settings import load_settings

    first, students = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "stepdown.toml"
    file.write_text(first)
    task = load_settings(file, environ={}).tasks["default"]
    assert build_check("total", task.checks["total"]).needs_reference
    # The second adds to the first, and has the small model anew.
    file.write_text(re.sub(r"\[models\.small\].*?\n\n", "", first, flags=re.DOTALL) + students)
    distils = load_settings(file, environ={})
    assert distils.tasks["default"].student is not None
    assert distils.models["small"].serving == "adapters"


def test_no_room_is_a_drawer() -> None:
    forbidden, installed = {"utils", "util", "common", "helpers", "misc"}, {".venv", ".vllm"}
    assert not [p for p in ROOT.rglob("*.py") if p.stem in forbidden and not installed & set(p.parts)]
