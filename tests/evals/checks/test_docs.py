"""The page on checks says what the code does: every kind, every setting, every default, every example."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evals.checks import KINDS, Subject, build_checks
from evals.checks.refusals import REFUSALS
from evals.sandbox import why_not
from stepdown.records import Verdict

PAGE = (Path(__file__).parents[3] / "docs" / "checks.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def settings_of(kind: str) -> dict[str, str]:
    """The settings that the page lists for a kind, with their defaults as it writes them."""
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", SECTIONS[kind], re.MULTILINE))


def written(default: Any) -> str:
    """A default as the page writes it."""
    if default is None:
        return "–"
    if default is msgspec.NODEFAULT:
        return "required"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


def test_every_kind_has_its_section_in_order() -> None:
    assert list(SECTIONS) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_listed_with_its_default(kind: str) -> None:
    found = settings_of(kind)
    for field in msgspec.structs.fields(KINDS[kind]):
        made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if made else field.default
        shown = found.pop(field.name)
        if field.name == "strip":
            assert all(c.isspace() or c in shown for c in default)
        else:
            assert shown == written(default), field.name
    assert found == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_its_reference_is(kind: str) -> None:
    assert "\nReference: " in SECTIONS[kind]


def test_the_settings_in_the_examples_are_valid() -> None:
    examples = re.findall(r"```toml\n(\[tasks.*?)```", PAGE, re.DOTALL)
    tasks = [tomllib.loads(example)["tasks"] for example in examples]
    declared = {name: check for task in tasks for t in task.values() for name, check in t["checks"].items()}
    checks = build_checks(declared)
    assert checks["right"](Subject("It is $20.00", 20)).verdict is Verdict.GOOD
    assert checks["right"](Subject("As an AI, I say $20.00", 20)).verdict is Verdict.BAD


def test_the_kind_of_ones_own_works() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "docs"}
    exec(source.replace("from __future__ import annotations", ""), names)
    assert names["Greets"]()(Subject("Dear reader")).verdict is Verdict.GOOD


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"(in {len(REFUSALS)} languages)" in PAGE


def test_the_remedy_is_the_sandboxs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = why_not()
    assert said is not None
    for remedy in re.findall(r"`((?:apt|sysctl|--security)[^`]+)`", said):
        assert remedy in PAGE
