"""docs/distillation.md: its settings load, its commands exist, and what it says is printed is in the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from distill.night.machine import Stage
from evals.checks import build_check
from stepdown.cli import cli
from stepdown.settings import load_settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/distillation.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its head left out."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


@cache
def said_in_code() -> str:
    """Every text in the code of distillation, with what is filled in left out."""
    texts = []
    for file in [*(ROOT / "distill").rglob("*.py"), *(ROOT / "stepdown/cli").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts.append(
                "…".join(p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str))
            )
    return "\n".join(texts)


def test_the_settings_are_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "stepdown.toml"
    file.write_text(block)
    settings = load_settings(file, environ={})
    task = settings.tasks["default"]
    assert task.student is not None
    assert settings.models["small"].serving == "adapters"
    assert build_check("total", task.checks["total"]).needs_reference


def test_every_command_exists_with_the_options_it_is_given() -> None:
    named = re.findall(r"`stepdown ([^`]+)`", PAGE)
    assert len(named) > 8
    for words in map(str.split, named):
        command: click.Command | None = cli
        options: set[str] = set()
        for word in words:
            if isinstance(command, click.Group) and not word.startswith("-"):
                found = command.get_command(click.Context(command), word)
                command = found if found is not None else command
            elif command is not None and word.startswith("--"):
                options |= {name for parameter in command.params for name in parameter.opts}
                assert word in options, words
        assert command is not cli, words


def test_the_options_named_alone_are_those_of_promote() -> None:
    promote = cli.get_command(click.Context(cli), "promote")
    assert promote is not None
    assert {"--share", "--live"} <= {name for parameter in promote.params for name in parameter.opts}


def test_the_table_of_stages_is_that_of_the_night() -> None:
    assert [name.strip("`") for name, _ in rows("A night, stage by stage")] == list(Stage)


@pytest.mark.parametrize(
    "words", [phrase for row in rows("When a night failed") for phrase in re.findall(r"`([^`]+)`", row[0])]
)
def test_what_a_failed_night_is_said_to_print_is_in_the_code(words: str) -> None:
    assert words in said_in_code()


def test_the_flags_that_compose_is_said_to_have_are_there() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["vllm"]
    has = {*service["command"], *(f"{name}={value}" for name, value in service["environment"].items())}
    section = PAGE.split("vLLM needs, beside the model")[1].split("\n## ")[0]
    flags = set(re.findall(r"`(--[\w=-]+|VLLM[\w=]+)`", section))
    assert len(flags) == 7
    assert flags <= has
